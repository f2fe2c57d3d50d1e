"""Ask a role and get an answer: the smallest complete program.

Run it with ``python examples/quickstart.py``. It needs no key and no network, because `quickstart.yaml` uses the mock
provider. To use a real model, change the file, not the program.
"""

from pathlib import Path

from lee_llm_router import LeeLLMRouter

CONFIG = Path(__file__).with_suffix(".yaml")

with LeeLLMRouter.from_file(CONFIG) as router:
    response = router.complete("planner", "How do I mend a broken build?")
    print(response.text)
    print(f"-- served by {response.provider}/{response.model}, usage: {response.usage}")
