"""The command `explain`: what asking a role would do, without asking anybody."""

from __future__ import annotations

from typing import Annotated

import typer

from lee_llm_router.cli.arguments import (
    ConfigOption,
    JsonOption,
    check_role,
    read_prompt,
    roles_beginning_with,
    text_of,
)
from lee_llm_router.cli.asking.options import (
    FileOption,
    ImageOption,
    MaxTokensOption,
    ModelOption,
    SchemaOption,
    SettingOption,
    SystemOption,
    TargetOption,
    TemperatureOption,
    ToolOption,
    check_targets,
    question_options,
    router_for,
)
from lee_llm_router.cli.output import write_json


def explain(
    role: Annotated[
        str | None, typer.Argument(help="Role. Default: the default role.", autocompletion=roles_beginning_with)
    ] = None,
    prompt: Annotated[str | None, typer.Argument(help="The prompt to assume. Default: any text.")] = None,
    *,
    model: ModelOption = None,
    target: TargetOption = None,
    system: SystemOption = None,
    file: FileOption = None,
    image: ImageOption = None,
    tool: ToolOption = None,
    schema: SchemaOption = None,
    temperature: TemperatureOption = None,
    max_tokens: MaxTokensOption = None,
    setting: SettingOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show what asking a role would do now: which targets it asks, which it skips and why, with which settings.

    The source of each setting is shown next to it. Nobody is asked and nothing is sent. The options are those of
    complete.
    """
    from lee_llm_router.cli.asking.question import conversation, user_message  # noqa: PLC0415

    if target and prompt is None:
        role, prompt = None, role  # named targets have no role
    role = text_of(role, "ROLE")
    check_targets(target, role, model, config)
    options = question_options(
        model=model, temperature=temperature, max_tokens=max_tokens, settings=setting, tools=tool, schema=schema
    )
    text = "?" if prompt is None else read_prompt(prompt)
    with router_for(target, config, trace_store=False) as router:
        check_role(role, router.config.roles)
        told = router.explain(role, conversation(system, user_message(text, file, image)), **options)
    if as_json:
        write_json(told.as_dict(), indent=2)
        return
    from lee_llm_router.cli.explanation_view import print_explanation  # noqa: PLC0415

    print_explanation(told)
