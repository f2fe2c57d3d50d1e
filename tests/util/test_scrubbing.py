"""Keys come out of texts and exceptions whole, and what that costs does not depend on how long the text is."""

from __future__ import annotations

import traceback
from typing import Any

import pytest

from lee_llm_router._util import scrubbing
from lee_llm_router._util.scrubbing import quoted, scrub_exception, secrets_in, text_of_exception

KEY = "zQ9-secret/value+1234567890"
SHAPED = "sk-proj-AbCdEfGhIjKlMnOpQrStUv"


@pytest.mark.parametrize("secret", [KEY, SHAPED])
@pytest.mark.parametrize("filler", ["word ", "x", "a" * 40 + "\n", "é", "\\u0041"])
def test_no_part_of_a_key_is_left_where_a_long_text_is_cut(secret: str, filler: str) -> None:
    """Wherever in the text the key stands: the cut is at another place in it each time."""
    for limit in (20, 300):
        window = limit * 4 + scrubbing._CUT_SPARE
        for start in [*range(limit - len(secret), limit + 3), *range(window - len(secret) - 2, window + 3)]:
            text = (filler * (start // len(filler) + 1))[: max(0, start - 1)] + " " + secret + filler * 5000
            shown = quoted(text, [secret] if secret is KEY else [], limit)
            assert len(shown) <= limit and secret[:6] not in shown, (limit, start, shown[-40:])


def test_keys_that_shrink_a_text_do_not_pull_a_half_one_into_sight() -> None:
    for extra in range(40):
        shown = quoted("y" * extra + (KEY + " ") * 2000, [KEY], 300)
        assert "zQ9" not in shown.replace(KEY, "")


class CountingText(str):
    """A text that tells how much of it was looked at."""

    looked_at = 0

    def __getitem__(self, key: Any) -> str:
        piece = super().__getitem__(key)
        CountingText.looked_at += len(piece)
        return piece

    def replace(self, *args: Any) -> str:
        raise AssertionError("the whole text was searched")


def test_a_long_text_is_cut_before_it_is_searched() -> None:
    CountingText.looked_at = 0
    assert len(quoted(CountingText("model " * 5_000_000), [KEY], 300)) == 300
    assert CountingText.looked_at < 20_000


class _Evil(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError


class _EvilRepr(Exception):
    def __repr__(self) -> str:
        raise ValueError("no repr")


class _Sealed(Exception):
    @property
    def args(self) -> Any:  # type: ignore[override]
        return (KEY,)


def _group(*errors: Exception) -> Exception:
    return ExceptionGroup(f"many with {KEY}", list(errors))


def _with_context(error: Exception, context: Exception) -> Exception:
    error.__context__ = context
    return error


EXCEPTIONS: dict[str, Exception] = {
    "text": ValueError(f"no {KEY}"),
    "bytes": ValueError(f"no {KEY}".encode()),
    "a dict": ValueError({"headers": {"X-Key": KEY}}),
    "a list in a tuple": ValueError(("a", [KEY])),
    "a file name": FileNotFoundError(2, "none", f"/tmp/{KEY}"),
    "two file names": OSError(18, "cross", f"/a/{KEY}", None, f"/b/{KEY}"),
    "a syntax error": SyntaxError("bad", ("f.py", 1, 1, f"key = '{KEY}'")),
    "a group": ExceptionGroup("many", [ValueError(f"a {KEY}"), KeyError(KEY)]),
    "a group in a group": ExceptionGroup("outer", [ExceptionGroup("inner", [OSError(5, KEY)])]),
    "a group's message": ExceptionGroup("two", [_with_context(ValueError("a"), RuntimeError(KEY))]),
    "a context": _with_context(ValueError("a"), ValueError(KEY)),
    "an attribute": ValueError("a"),
    "an object": ValueError(type("Thing", (), {"__repr__": lambda self: KEY})()),
    "a sealed cause": ValueError("outer"),
    "cause and context": ValueError("outer"),
    "evil": _Evil(KEY),
    "evil repr": _EvilRepr(KEY),
}
EXCEPTIONS["an attribute"].detail = [KEY]  # type: ignore[attr-defined]
EXCEPTIONS["a sealed cause"].__cause__ = _Sealed()
EXCEPTIONS["cause and context"].__cause__ = EXCEPTIONS["cause and context"].__context__ = _Sealed()
EXCEPTIONS["a group's message"].add_note(f"noted {KEY}")


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_no_traceback_of_a_cleaned_exception_shows_a_key(name: str) -> None:
    """Of one that cannot be cleaned it is said so, and nothing that was raised from it shows it."""
    error = EXCEPTIONS[name]
    outer = RuntimeError("outer")
    outer.__cause__ = outer.__context__ = error
    assert scrub_exception(outer, [KEY])
    shown = "".join(traceback.format_exception(outer))
    assert KEY not in shown
    if not scrub_exception(error, [KEY]):
        behind: list[BaseException | None] = [outer.__cause__, outer.__context__]
        assert behind == [None, None]


def test_a_long_text_in_an_exception_is_cut() -> None:
    error = ValueError("x" * 5_000_000, b"y" * 5_000_000)
    vars(error)["doc"] = "z" * 5_000_000
    scrub_exception(error, [KEY])
    assert len(str(error)) < 60_000
    assert len(vars(error)["doc"]) < 30_000


@pytest.mark.parametrize(
    ("error", "text"),
    [(_Evil(), "_Evil (its text cannot be shown)"), (ValueError("a"), "ValueError: a"), (OSError(), "OSError")],
)
def test_an_exception_always_has_a_text(error: Exception, text: str) -> None:
    assert text_of_exception(error) == text


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"X-Api-Key": "k1234"}, ["k1234"]), ({"Authorization": "Bearer abcd"}, ["Bearer abcd", "abcd"]),
        ({"X-Tenant": "acme"}, []), ({"options": {"api_key": "k1234", "top_k": "40"}}, ["k1234"]),
        ({"list": [{"token": "t1234"}]}, ["t1234"]), ({"note": SHAPED}, [SHAPED]), ({"n": 5}, []), (None, []),
    ],
)  # fmt: skip
def test_keys_are_found_by_their_names_and_shapes(value: Any, found: list[str]) -> None:
    assert list(secrets_in(value)) == found
