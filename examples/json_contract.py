"""Answers as checked data: give a pydantic model as `schema`, get an instance of it in `response.parsed`.

Run it with ``python examples/json_contract.py``. The mock keeps the contract first and breaks it then. A broken answer
is a `ContractViolationError`: it is neither retried nor asked of another target, because it is an answer, only not the
one you can use. What to do about it is yours to say; `error.response` holds it.
"""

from pydantic import BaseModel

from lee_llm_router import ContractViolationError, LeeLLMRouter

CONFIG = """
llm:
  providers:
    offline:
      type: mock
      script:
        - text: '{"name": "Ada Lovelace", "born": 1815}'
        - text: '{"name": "Ada Lovelace", "born": "long ago"}'
  roles:
    extractor: {provider: offline, model: m, temperature: 0}
"""


class Person(BaseModel):
    name: str
    born: int


with LeeLLMRouter(CONFIG) as router:
    for _ in range(2):
        try:
            response = router.complete("extractor", "Who wrote the first program?", schema=Person)
        except ContractViolationError as error:
            print("broken:", error.message)
            print("the answer was:", error.response.text if error.response else None)
        else:
            print("parsed:", repr(response.parsed))
