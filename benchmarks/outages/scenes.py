"""The scenes: what the server does, how many calls are made, who plays, and the least that this router must do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from outages.libraries import DEFAULTS, IMPATIENT, LITELLM, OPENAI, ROUTER, can_be_impatient
from outages.server import Behaviour

WAYS = ("sync", "async")

ALONE = "no outage"
RESTART = "restart"
FLAP = "flap"
SHAKY = "shaky"
BUSY = "busy"
IMPATIENCE = "busy, then asked"
DEAD_KEY = "dead key"


@dataclass(frozen=True)
class Scene:
    """A batch of calls, and the server they meet."""

    name: str
    behaviour: Behaviour
    calls: int = 200
    at_once: int = 4
    every: float = 0.0
    """Seconds between the beginnings of two calls; 0 if each follows the one before."""
    spare: bool = False
    """Whether there is a fallback that is well."""
    asks_once_more: bool = False
    """Whether another call is made at once after the batch."""

    @property
    def title(self) -> str:
        """Its name in the table."""
        return f"{self.name} + fallback" if self.spare else self.name


@dataclass(frozen=True)
class Play:
    """A scene and a library that plays it, in one way."""

    scene: Scene
    library: str
    way: str


def scenes(quick: bool) -> dict[str, Scene]:
    """Return the scenes by name, without a fallback where they can do without."""
    found = [
        Scene(ALONE, Behaviour()),
        Scene(RESTART, Behaviour(up_for=0.5, down_for=2.5)),
        Scene(FLAP, Behaviour(up_for=1, down_for=1, repeated=True)),
        Scene(SHAKY, Behaviour(share_of_503=0.2), calls=1000),
        Scene(BUSY, Behaviour(up_for=0, down_for=8, status_down=503), calls=16, at_once=16),
        Scene(
            IMPATIENCE,
            Behaviour(up_for=0, down_for=60, status_down=503),
            calls=16,
            at_once=16,
            asks_once_more=True,
        ),
        Scene(DEAD_KEY, Behaviour(status=401), calls=50, at_once=1, every=1.2, spare=True),
    ]
    if quick:
        found = [_shortened(scene) for scene in found]
    return {scene.name: scene for scene in found}


def _shortened(scene: Scene) -> Scene:
    smaller = {
        ALONE: replace(scene, calls=60),
        RESTART: replace(scene, calls=60, behaviour=replace(scene.behaviour, up_for=0.2, down_for=1)),
        FLAP: replace(scene, calls=100, behaviour=replace(scene.behaviour, up_for=0.5, down_for=0.5)),
        SHAKY: replace(scene, calls=200),
        BUSY: replace(scene, behaviour=replace(scene.behaviour, down_for=3)),
        DEAD_KEY: replace(scene, calls=10, every=0.6),
    }
    return smaller.get(scene.name, scene)


def plays(quick: bool, peers: Sequence[str]) -> Iterator[tuple[Play, ...]]:
    """Yield the plays in groups; those of a group may run at the same time.

    Where latencies are held to bars, each play runs alone.
    """
    by_name = scenes(quick)
    for name in (RESTART, FLAP, SHAKY):
        for library in (ROUTER, DEFAULTS, *peers):
            yield tuple(Play(by_name[name], library, way) for way in WAYS)
    for name in (ALONE, RESTART, FLAP, SHAKY):
        scene = replace(by_name[name], spare=True)
        for library in (DEFAULTS, ROUTER):
            for way in WAYS:
                yield (Play(scene, library, way),)
        if LITELLM in peers:
            yield tuple(Play(scene, LITELLM, way) for way in WAYS)
    for library in (DEFAULTS, *peers):
        yield tuple(Play(by_name[BUSY], library, way) for way in WAYS)
    if can_be_impatient():
        yield tuple(Play(by_name[IMPATIENCE], IMPATIENT, way) for way in WAYS)


def dead_key_plays(quick: bool, peers: Sequence[str]) -> tuple[Play, ...]:
    """Return the plays that take a minute and next to no work: they run beside the others."""
    libraries = (DEFAULTS, *(peer for peer in peers if peer != OPENAI))
    return tuple(Play(scenes(quick)[DEAD_KEY], library, way) for library in libraries for way in WAYS)
