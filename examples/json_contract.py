"""Get answers as checked data: pass a pydantic model as `schema` and get an instance of it in `response.parsed`.

Run it with ``python examples/json_contract.py``. The first answer of the mock keeps the contract; the second breaks it.
The router asks the mock once more for a repair, which breaks it too. There is no other target, so the call raises a
`ContractViolationError`, and your program decides what to do; `error.response` holds the answer.
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
