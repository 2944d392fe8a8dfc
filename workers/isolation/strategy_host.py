"""Keeps a process for each user's strategy of a search, so that the search outlives whatever its code does.

The searching process knows what a strategy declares, asks for each repair and warm-up, and has the long steps done
whole; see `workers.coordinator.isolated_steps`. A built-in strategy is imported and run in the searching process
itself.
"""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from optimizer.level.spec import Level
from optimizer.strategies.proxy import BarStrategyProxy, SignalStrategyProxy, StrategyDeclaration, proxy_of
from optimizer.strategies.registry import find_own_by
from tradeschool.errors import StrategyFailed, StrategyNotImported
from workers.isolation.strategy_allowlist import own_strategies
from workers.isolation.strategy_process import (
    ProgressCallback,
    Stop,
    StrategyProcess,
    StrategyProcessEnded,
    Take,
    Terms,
    Waits,
    nothing,
)
from workers.isolation.strategy_protocol import Message, error_of

IMPORT_SECONDS = 30.0
RESPONSE_SECONDS = 10.0
"""For what a strategy is asked between two trials."""
ATTEMPTS = 3
"""Processes that may die over one step."""
LOG_SECONDS = 10.0
"""After which it is said what a search waits for, and how often it is said again."""

log = logging.getLogger(__name__)


def _never() -> bool:
    return False


class StrategyHost:
    """The processes of a search's strategies: one each, started when it is needed and again where it dies."""

    def __init__(self, terms: Terms, tell: ProgressCallback) -> None:
        self._terms, self._tell = terms, tell
        self._processes: dict[str, StrategyProcess] = {}
        self._known: dict[str, SignalStrategyProxy | BarStrategyProxy] = {}
        self._lock = threading.RLock()

    def find(self, name: str) -> SignalStrategyProxy | BarStrategyProxy:
        """What stands for a strategy in this process.

        Raises:
            SettingsError: where there is no such module or object, or it is no strategy.
            StrategyNotImported: where its module raises, ends its process or does not end.
        """
        with self._lock:
            if name not in self._known:
                self._running(name, _never)
            return self._known[name]

    def ask(
        self, name: str, what: str, facts: dict[str, object], *, step: str, take: Take = nothing, stop: Stop = _never
    ) -> Any:
        """What a strategy's process answers to a question that needs its code, without a limit for the whole of it.

        Raises:
            StrategyNotImported: as `find` does.
            StrategyFailed: where it raises, or its process dies again and again.
            TradeschoolError: what the step raises.
            KeyboardInterrupt: where `stop` says so.
        """
        return self._ask(name, {"do": what, "facts": facts, "step": step}, None, take, stop)

    def close(self) -> None:
        """End every process."""
        with self._lock:
            for process in self._processes.values():
                process.end()
            self._processes.clear()

    def _ask(self, name: str, question: Message, seconds: float | None, take: Take, stop: Stop) -> Any:
        deaths = 0
        with self._lock:
            while True:
                process = self._running(name, stop)
                try:
                    waits = self._waits(f"strategy {name} is at {question['step']}" if seconds else "")
                    return _result(process.ask(question, seconds, take, stop, waits))
                except StrategyProcessEnded as error:
                    deaths += 1
                    _log_end(name, question["step"], str(error))
                    if deaths >= ATTEMPTS:
                        raise StrategyFailed(name, question["step"], str(error), deaths) from None

    def _running(self, name: str, stop: Stop) -> StrategyProcess:
        """The strategy's process, its module imported."""
        found = self._processes.get(name)
        if found is not None and not found.is_over:
            return found
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._processes[name] = self._start(name, stop)
            except StrategyProcessEnded as error:
                _log_end(name, "import", str(error))
                if error.is_late or attempt == ATTEMPTS:  # what does not end once is not waited for again
                    raise StrategyNotImported(name, str(error), attempt) from None
            else:
                return self._processes[name]
        raise AssertionError("the last attempt returns or raises")

    def _start(self, name: str, stop: Stop) -> StrategyProcess:
        process = StrategyProcess(name, self._terms)
        try:
            process.wait_until_ready(stop)
            request_digest = {"do": "describe", "facts": {}, "step": "import"}
            waits = self._waits(f"strategy {name} is being imported")
            declared = StrategyDeclaration.from_json(
                _result(process.ask(request_digest, IMPORT_SECONDS, nothing, stop, waits))
            )
        except BaseException:
            process.end()
            raise
        self._known.setdefault(name, proxy_of(declared, lambda what, facts: self._answer(name, what, facts)))
        return process

    def _answer(self, name: str, what: str, facts: dict[str, object]) -> Any:
        seconds = min(RESPONSE_SECONDS, self._terms.trial_seconds)
        step = "warm-up" if what == "warm_up" else what
        return self._ask(name, {"do": what, "facts": facts, "step": step}, seconds, nothing, _never)

    def _waits(self, about: str) -> Waits:
        due = LOG_SECONDS

        def waits(seconds: float) -> None:
            nonlocal due
            if about and seconds >= due:
                self._tell(f"{about} for {due:.0f} s")
                due += LOG_SECONDS

        return waits


_host: StrategyHost | None = None


@contextmanager
def strategies_apart(terms: Terms, tell: ProgressCallback = nothing) -> Iterator[StrategyHost]:
    """Have this process import no user's strategy until the block ends: each runs in a process of its own."""
    global _host
    before, _host = _host, StrategyHost(terms, tell)
    try:
        with find_own_by(_host.find):
            yield _host
    finally:
        _host.close()
        _host = before


def host_of(levels: Sequence[Level]) -> tuple[StrategyHost, str] | None:
    """Who runs a step that needs the strategies of these levels, and under which strategy's name.

    None where this process does: they are all built in, or nobody has asked for more.
    """
    own = own_strategies(levels)
    return (_host, own[0]) if _host is not None and own else None


def _result(answer: Message) -> Any:
    """What an answer holds.

    Raises:
        Ended: where a process died with which the work was shared.
        TradeschoolError: what was raised.
    """
    if "ended" in answer:
        raise StrategyProcessEnded(str(answer["ended"]))
    if "error" in answer:
        raise error_of(answer["error"])
    return answer["done"]


def _log_end(name: str, step: str, reason: str) -> None:
    said = {"action": "strategy_ended", "strategy": name, "step": step, "reason": reason}
    log.info("a strategy's process ended", extra=said)
