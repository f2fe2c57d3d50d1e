"""Asks a server for its list of models with the provider's own client: its key, its proxy, its trusted authorities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from lee_llm_router._util.hosts import host_of, is_this_machine
from lee_llm_router.doctor.live.model_list import (
    MAX_PAGES,
    NoListError,
    is_among,
    names_in,
    near_names,
    path_of_model,
)
from lee_llm_router.doctor.live.outcomes import MAX_SKEW, id_and_text_of_reply, id_of_error, is_page, skew_of
from lee_llm_router.doctor.results import CheckResult, Place, found
from lee_llm_router.errors import LLMRouterError
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.provider import HTTPProvider
from lee_llm_router.providers.http.transport.proxies import proxy_for
from lee_llm_router.telemetry.records import target_name


class ServerProbe:
    """Asks one provider.

    Args:
        provider: The provider.
        models: The models that roles use; None for its default.
        timeout: Seconds that each request may take.
        at: The provider's place in the file.
    """

    def __init__(
        self, provider: HTTPProvider[Any], models: Sequence[str | None], timeout: float, at: Place | None
    ) -> None:
        self._provider = provider
        self._models = models
        self._timeout = timeout
        self._at = at
        self._host = urlsplit(provider.config.base_url).netloc

    def results(self) -> Iterator[CheckResult]:
        """Yield results: about the provider if something is wrong with it, otherwise about each model; and about each
        key."""
        yield from self._with_first_key()
        path = self._provider.models_path()
        if path is not None:
            yield from self._with_other_keys(path)

    def _with_other_keys(self, path: str) -> Iterator[CheckResult]:
        """Report for each key after the first one set whether the server accepts it."""
        config = self._provider.config
        names = [name for name in config.several_keys if (config.origin.variable(name) or "").strip()]
        for name in names[1:]:
            try:
                reply = self._provider.with_settings(config.changed({"api_key_env": name})).look_at(path, self._timeout)
            except LLMRouterError as error:
                yield self._result(id_of_error(error, self._proxy_host()), f"with {name}: {error.message}")
                continue
            if reply.ok:
                yield self._result("LLR900", f"{self._host} answers with {name} too")
            else:
                check, text = id_and_text_of_reply(reply, self._provider.dialect)
                yield self._result(check, f"with {name}: {text}")

    def _with_first_key(self) -> Iterator[CheckResult]:
        path = self._provider.models_path()
        begun = self._provider.clock.monotonic()
        try:
            reply = self._provider.look_at(path or "", self._timeout)
        except LLMRouterError as error:
            yield self._result(id_of_error(error, self._proxy_host()), error.message)
            return
        took = self._provider.clock.monotonic() - begun
        skew = skew_of(reply)
        if skew is not None and abs(skew) > MAX_SKEW:
            way = "ahead of" if skew > 0 else "behind"
            yield self._result("LLR908", f"this machine's clock is {abs(skew):.0f} s {way} that of {self._host}")
        if path is None:
            yield from self._without_list(reply, took)
        elif not reply.ok:
            check, text = id_and_text_of_reply(reply, self._provider.dialect)
            yield self._result(check, text)
        else:
            yield from self._of_list(reply, path, took)

    def _without_list(self, reply: HTTPReply, took: float) -> Iterator[CheckResult]:
        """Report for an API without a list of models that something responds."""
        if reply.status in (407, *range(500, 600)):
            check, text = id_and_text_of_reply(reply, self._provider.dialect)
            yield self._result(check, text)
        else:
            text = f"{self._host} answers in {took * 1000:.0f} ms; this API has no list of models: --live=call asks"
            yield self._result("LLR900", text)

    def _of_list(self, reply: HTTPReply, path: str, took: float) -> Iterator[CheckResult]:
        try:
            names = self._all_names(reply, path)
        except NoListError as error:
            yield (
                self._result("LLR914", "the answer is a web page")
                if is_page(reply)
                else self._result("LLR921", str(error))
            )
            return
        except LLMRouterError as error:
            yield self._result(id_of_error(error, self._proxy_host()), error.message)
            return
        listed = f"{self._host} lists {len(names)} model{'s' * (len(names) != 1)} in {took * 1000:.0f} ms"
        if self._is_public(path):
            yield self._result("LLR922", f"{self._host} lists its models without a key too")
        for model in self._models or [None]:
            if model is None or is_among(model, names):
                yield self._result("LLR900", listed + (", this one among them" if model else ""), model)
            else:
                yield self._absent(model, names, path, listed)

    def _all_names(self, reply: HTTPReply, path: str) -> set[str]:
        names, following = names_in(reply)
        for _ in range(MAX_PAGES):
            if following is None:
                break
            reply = self._provider.look_at(f"{path}{'&' if '?' in path else '?'}{following}", self._timeout)
            if not reply.ok:
                break
            more, following = names_in(reply)
            names |= more
        return names

    def _absent(self, model: str, names: set[str], path: str, listed: str) -> CheckResult:
        """Return the result for a model missing from the list: some APIs accept aliases that they do not list."""
        try:
            reply = self._provider.look_at(path_of_model(path, model), self._timeout)
            if reply.ok and reply.body.lstrip()[:1] == b"{" and model.encode() in reply.body:
                return self._result("LLR900", f"{listed}; this one is known but not listed", model)
        except LLMRouterError:
            pass
        near = near_names(model, names)
        hint = f" (did you mean {' or '.join(map(repr, near))}?)" if near else ""
        text = f"{listed}, but this one is not among them{hint}"
        host = host_of(self._provider.config.base_url)
        # A local server with one model serves it under any name; Azure's names are those of deployments.
        is_lenient = (is_this_machine(host) and len(names) <= 1) or "azure" in host
        return self._result("LLR915", text, model, is_lenient=is_lenient)

    def _is_public(self, path: str) -> bool:
        """Whether the server gives the list even without the key, so that it proves nothing about the key."""
        if not any(True for _ in self._provider.secrets()) or is_this_machine(host_of(self._provider.config.base_url)):
            return False
        try:
            return self._provider.look_at(path, self._timeout, with_key=False).ok
        except LLMRouterError:
            return False

    def _proxy_host(self) -> str | None:
        try:
            proxy = proxy_for(self._provider.config.base_url)
        except LLMRouterError:
            return None
        return None if proxy is None else host_of(proxy) or None

    def _result(self, check: str, text: str, model: str | None = None, *, is_lenient: bool = False) -> CheckResult:
        subject = target_name(self._provider.name, model) if model else self._provider.name
        return found(check, subject, text, at=self._at, level="warning" if is_lenient else None)
