"""``python -m lee_llm_router``: the command line."""

from lee_llm_router.cli import main

main()
