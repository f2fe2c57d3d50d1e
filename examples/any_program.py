"""Use your own program as a model: its answer, tokens and failures come from its output.

Run it with ``python examples/any_program.py``. The program is ``any_program_model.py`` next to it; the configuration is
``any_program.yaml``. The program answers the first call and refuses the second. A rule classifies that as QUOTA, and
the next target answers.
"""

from pathlib import Path

from lee_llm_router import LeeLLMRouter

with LeeLLMRouter.from_file(Path(__file__).with_suffix(".yaml")) as router:
    for prompt in ("the fox jumps", "please spend money"):
        response = router.complete("words", prompt)
        print(f"{response.text}  -- {response.provider}, {response.model}, {response.usage.total_tokens} tokens")
