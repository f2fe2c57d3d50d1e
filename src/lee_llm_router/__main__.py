"""``python -m lee_llm_router``: the command line."""

from lee_llm_router.cli.commands import main

main()
