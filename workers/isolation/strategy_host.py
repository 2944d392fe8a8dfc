"""The processes of users' strategies: one each, so that a search survives whatever a strategy's code does.

The searching process knows what a strategy declares, and sends each call of its code to the strategy's process:
repairs and warm-ups one by one, long steps as a whole (see `workers.coordinator.run.isolated_steps`). Built-in
strategies run in the searching process itself.
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
from workers.isolation.strategy_allowlist import user_strategies
from workers.isolation.strategy_process import (
    IsolationSettings,
    MessageCallback,
    PartCallback,
    StopCheck,
    StrategyProcess,
    StrategyProcessEnded,
    WaitCallback,
    ignore,
)
from workers.isolation.strategy_protocol import Message, error_of

IMPORT_SECONDS = 30.0
RESPONSE_SECONDS = 10.0
"""Time limit for a repair or a warm-up."""
ATTEMPTS = 3
"""Processes that may die over one step."""
LOG_SECONDS = 10.0
"""Wait after which a message names the step, and the time between two such messages."""

log = logging.getLogger(__name__)


def _never() -> bool:
    return False


class StrategyHost:
    """Starts a process per strategy on first use, and again after it has died."""

    def __init__(self, settings: IsolationSettings, on_message: MessageCallback) -> None:
        self._settings, self._on_message = settings, on_message
        self._processes: dict[str, StrategyProcess] = {}
        self._proxies: dict[str, SignalStrategyProxy | BarStrategyProxy] = {}
        self._lock = threading.RLock()

    def find(self, name: str) -> SignalStrategyProxy | BarStrategyProxy:
        """The object that represents a strategy in this process.

        Raises:
            SettingsError: There is no such module or object, or it is no strategy.
            StrategyNotImported: Its module raises, ends its process or does not end.
        """
        with self._lock:
            if name not in self._proxies:
                self._running(name, _never)
            return self._proxies[name]

    def call(
        self,
        name: str,
        what: str,
        facts: dict[str, object],
        *,
        step: str,
        on_part: PartCallback = ignore,
        stop: StopCheck = _never,
    ) -> Any:
        """Run a long step in a strategy's process and return its result; there is no time limit for the whole step.

        Raises:
            StrategyNotImported: As `find`.
            StrategyFailed: The strategy raises, or `ATTEMPTS` processes have died.
            TradeschoolError: The step raises it.
            KeyboardInterrupt: `stop` has returned True.
        """
        return self._call(name, {"do": what, "facts": facts, "step": step}, None, on_part, stop)

    def close(self) -> None:
        """End every process."""
        with self._lock:
            for process in self._processes.values():
                process.end()
            self._processes.clear()

    def _call(self, name: str, request: Message, seconds: float | None, on_part: PartCallback, stop: StopCheck) -> Any:
        deaths = 0
        with self._lock:
            while True:
                process = self._running(name, stop)
                try:
                    on_wait = self._on_wait(f"strategy {name}: waiting for {request['step']}" if seconds else "")
                    return _result(process.call(request, seconds, on_part, stop, on_wait))
                except StrategyProcessEnded as error:
                    deaths += 1
                    _log_end(name, request["step"], str(error))
                    if deaths >= ATTEMPTS:
                        raise StrategyFailed(name, request["step"], str(error), deaths) from None

    def _running(self, name: str, stop: StopCheck) -> StrategyProcess:
        """The strategy's process, its module imported."""
        found = self._processes.get(name)
        if found is not None and not found.is_ended:
            return found
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._processes[name] = self._start(name, stop)
            except StrategyProcessEnded as error:
                _log_end(name, "import", str(error))
                if error.is_late or attempt == ATTEMPTS:  # an import that does not end is not tried again
                    raise StrategyNotImported(name, str(error), attempt) from None
            else:
                return self._processes[name]
        raise AssertionError("the last attempt returns or raises")

    def _start(self, name: str, stop: StopCheck) -> StrategyProcess:
        process = StrategyProcess(name, self._settings)
        try:
            process.wait_until_ready(stop)
            request = {"do": "describe", "facts": {}, "step": "import"}
            on_wait = self._on_wait(f"strategy {name}: waiting for its import")
            declared = StrategyDeclaration.from_json(
                _result(process.call(request, IMPORT_SECONDS, ignore, stop, on_wait))
            )
        except BaseException:
            process.end()
            raise
        self._proxies.setdefault(name, proxy_of(declared, lambda what, facts: self._short_call(name, what, facts)))
        return process

    def _short_call(self, name: str, what: str, facts: dict[str, object]) -> Any:
        seconds = min(RESPONSE_SECONDS, self._settings.trial_seconds)
        step = "warm-up" if what == "warm_up" else what
        return self._call(name, {"do": what, "facts": facts, "step": step}, seconds, ignore, _never)

    def _on_wait(self, message: str) -> WaitCallback:
        due = LOG_SECONDS

        def on_wait(seconds: float) -> None:
            nonlocal due
            if message and seconds >= due:
                self._on_message(f"{message}, {due:.0f} s so far")
                due += LOG_SECONDS

        return on_wait


_host: StrategyHost | None = None


@contextmanager
def isolated_strategies(settings: IsolationSettings, on_message: MessageCallback = ignore) -> Iterator[StrategyHost]:
    """Run each user's strategy in a separate process until the block ends; this process imports none."""
    global _host
    before, _host = _host, StrategyHost(settings, on_message)
    try:
        with find_own_by(_host.find):
            yield _host
    finally:
        _host.close()
        _host = before


def host_for(levels: Sequence[Level]) -> tuple[StrategyHost, str] | None:
    """The host that runs steps with these levels' strategies, and the strategy whose process to use.

    None where this process runs them: all are built in, or `isolated_strategies` is not active.
    """
    names = user_strategies(levels)
    return (_host, names[0]) if _host is not None and names else None


def _result(response: Message) -> Any:
    """The value of a response.

    Raises:
        StrategyProcessEnded: A process that shared the work has died.
        TradeschoolError: The step has raised it.
    """
    if "ended" in response:
        raise StrategyProcessEnded(str(response["ended"]))
    if "error" in response:
        raise error_of(response["error"])
    return response["done"]


def _log_end(name: str, step: str, reason: str) -> None:
    fields = {"action": "strategy_ended", "strategy": name, "step": step, "reason": reason}
    log.info("strategy process ended", extra=fields)
