"""Draws docs/screens/*.svg: what each command shows, from a seeded set of traces and providers that are mocks.

The commands themselves draw, on a terminal in which time stands still but for waits.

    python docs/draw_screens.py            # writes the pictures
    python docs/draw_screens.py --check    # exit 1 if one in place shows something else
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from helpers.screen_pictures import picture_of, seen_in
from helpers.servers import Received, Server, answering_by, json_answer
from helpers.still_terminal import StillTerminal
from helpers.trace_set import WEEK_START, trace_set
from lee_llm_router.telemetry import TraceRecord

PICTURES = Path(__file__).with_name("screens")
WIDER = {"trace": 120, "trace replay": 120, "providers": 150}
"""Columns of the screens that are wider than 100."""
FILE = "lee-llm-router.yaml"
SEEDED = [
    (call, list(records))
    for call, records in groupby(trace_set(306, seed=264, full=True, days=6.53), key=lambda record: record.request_id)
]
"""Calls with their records; the last of them are made while somebody looks."""
TRACES = Path(".lee-llm-router/traces")
NOW = WEEK_START + 6.402 * 86_400
CONFIG = """\
llm:
  default_role: planner
  providers:
    codex: {type: codex_cli}
    openai:
      type: mock
      script:
        - {error: OVERLOADED, status_code: 529, message: the model is overloaded, delay: 0.42}
        - {error: RATE_LIMIT, status_code: 429, message: "30,000 tokens a minute", retry_after: 30, delay: 0.19}
    anthropic:
      type: mock
      response_text: |-
        1. Ask who eats what.
        2. Choose a meadow near a station.
        3. Bring blankets, bread, cheese and water for six.
      script: [{delay: 0.61, pause: 0.045}]
    groq:
      type: mock
      script:
        - {text: "The picnic is on Saturday.", delay: 0.2}
        - {text: '{"day": "Saturday", "guests": 6}', delay: 0.31}
    local: {type: mock, response_text: "On Saturday, with six guests.", script: [{delay: 0.9, pause: 0.08}]}
  roles:
    planner:
      provider: codex
      retry: {attempts: 2, backoff: 0.4}
      deadline: 60
      fallback_providers: [{provider: openai, model: gpt-5}, {provider: anthropic, model: claude-sonnet-5}]
    dates: {provider: groq, model: llama-4-scout}
    small: {provider: local, model: smollm2}
  pricing:
    table: false
    models:
      openai: {input: 1.25, output: 10}
      anthropic: {input: 3, output: 15}
      groq: {input: 0.11, output: 0.34}
  trace: {capture: full}
"""
GOOD = """\
llm:
  default_role: planner
  providers:
    main:  {type: mock, model: large}
    spare: {type: mock, model: small}
  roles:
    planner: {provider: main, fallback_providers: [spare]}
    dates:   {provider: spare}
"""
FAULTY = """\
llm:
  default_role: planer
  providers:
    openai:
      type: openai
      api_key: sk-proj-4hJ2kQ9vR7tY3nB8mW1xZ6cL5pD0sF
    gateway: {type: http, base_url: "https://gateway.example/v1", api_key_env: GATEWAY_KEY, timout: 20}
  roles:
    planner:
      provider: openai
      model: gpt-5
      timeout: 90
      deadline: 30
      fallback_providers: [gatway]
    dates: {provider: gateway, model: small}
  pricing: {table: false}
"""
LIVE = """\
llm:
  default_role: planner
  providers:
    gateway: {{type: http, base_url: "http://127.0.0.1:{}/v1", api_key_env: GROQ_API_KEY}}
    rival:   {{type: http, base_url: "http://127.0.0.1:{}/v1", api_key_env: ANTHROPIC_API_KEY}}
    local:   {{type: http, base_url: "http://127.0.0.1:{}/v1", api_key: none}}
    offline: {{type: mock}}
  roles:
    planner: {{provider: gateway, model: gpt-5, fallback_providers: [{{provider: rival, model: large}}, offline]}}
    dates:   {{provider: gateway, model: gpt-5-mimi, fallback_providers: [{{provider: local, model: smollm2}}]}}
  pricing: {{table: false}}
"""
CHAT = """\
Plan a picnic for six.
/trace
/role small
Which day did we say?
/role
/exit
"""


def screens() -> Iterator[tuple[str, str]]:
    """Yield the name of each picture, and what stands on the screen."""
    with StillTerminal(NOW, {"GROQ_API_KEY": "gsk_" + "7" * 52, "ANTHROPIC_API_KEY": "sk-ant-" + "7" * 90}) as terminal:
        yield "init", terminal.run("init")
        yield "providers", terminal.run("providers", head=14)
        yield from _asking(terminal)
        yield from _traces(terminal)
        yield from _checks(terminal)


def _asking(terminal: StillTerminal) -> Iterator[tuple[str, str]]:
    run = terminal.run
    Path(FILE).write_text(CONFIG)
    keep(record for _, records in SEEDED[:-6] for record in records)
    yield "explain", run('explain planner "Plan a picnic for six." -t 0.2')
    yield "chat", run("chat --no-history -t 0.2", typed=CHAT)
    yield (
        "complete",
        run('complete -v -t 0.2 "Plan a picnic for six."')
        + run('complete -v --role dates --schema "day, guests int" "Which day, how many guests?"'),
    )


def _traces(terminal: StillTerminal) -> Iterator[tuple[str, str]]:
    run = terminal.run
    yield (
        "trace",
        run("trace --last 9", columns=120) + run("trace --since 1d --status fallback --attempts --last 1", columns=120),
    )
    yield "trace show", run("trace show @2")
    yield "trace show repair", run("trace show @1")
    yield "trace replay", run("trace replay @2 --role small", columns=120)
    yield "trace stats", run("trace stats --by provider") + run("trace stats --since 2d --by role,day")
    terminal.clock.on_wait = iter(_written_while_somebody_looks())
    yield "trace follow", run("trace follow")
    yield (
        "trace files",
        run("trace report --since 7d -o week.html")
        + run("trace export --jsonl --since 2h -o calls.jsonl")
        + run("trace path")
        + run("trace prune --older-than 4d", typed="y\n"),
    )


def _written_while_somebody_looks() -> Iterator[Callable[[], None] | None]:
    yield None
    for _, records in SEEDED[-6:]:
        yield partial(keep, records)
        yield None  # a call that failed is shown with the next look
    yield _interrupt


def _interrupt() -> None:
    """Do what Ctrl-C does. The signal itself may be ignored: a shell starts what runs in the background so."""
    raise KeyboardInterrupt


def _checks(terminal: StillTerminal) -> Iterator[tuple[str, str]]:
    Path(FILE).write_text(FAULTY)
    yield "doctor", terminal.run("doctor")
    Path(FILE).write_text(GOOD)
    yield "doctor good", terminal.run("doctor") + terminal.run("doctor --live=call")
    with _servers(terminal) as config:
        Path(FILE).write_text(config)
        yield "doctor live", terminal.run("doctor --live --only LLR9")


@contextmanager
def _servers(terminal: StillTerminal) -> Iterator[str]:
    """Start servers, and yield a configuration that asks them: one that answers, one that refuses, and none."""

    def lists(request: Received) -> bytes:
        if "authorization" not in request.headers:
            return json_answer({"error": {"message": "a key is needed"}}, 401)
        terminal.clock.sleep(0.184)
        return json_answer({"data": [{"id": name} for name in ("gpt-5", "gpt-5-mini", "gpt-5-nano")]})

    def refuses(_: Received) -> bytes:
        return json_answer({"error": {"message": "Incorrect API key provided"}}, 401)

    with Server(answering_by(lists)) as one, Server(answering_by(refuses)) as other, socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        ports = (one.port, other.port, silent.getsockname()[1])
        terminal.shown_as |= {str(port): shown for port, shown in zip(ports, ("18081", "18082", "18083"), strict=True)}
        yield LIVE.format(*ports)


def keep(records: Iterable[TraceRecord]) -> None:
    """Add `records` to the daily files."""
    TRACES.mkdir(mode=0o700, parents=True, exist_ok=True)
    for record in records:
        with (TRACES / f"{record.started_at[:10].replace('-', '')}.jsonl").open("ab") as file:
            file.write(record.to_json() + b"\n")


def main() -> int:
    """Write the pictures, or compare them."""
    drawn = {
        PICTURES / f"{name.replace(' ', '-')}.svg": picture_of(text, name, WIDER.get(name, 100))
        for name, text in screens()
    }
    if "--check" not in sys.argv:
        PICTURES.mkdir(exist_ok=True)
        for path, svg in drawn.items():
            path.write_text(svg)
        return 0
    wrong = [path.name for path, svg in drawn.items() if not path.exists() or seen_in(path.read_text()) != seen_in(svg)]
    wrong += sorted(path.name for path in set(PICTURES.glob("*.svg")) - drawn.keys())
    if wrong:
        print(f"python {sys.argv[0]} draws these anew: {', '.join(wrong)}", file=sys.stderr)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
