"""The processes of users' code: one each, so that a search survives whatever a strategy's code does.

The searching process knows what a strategy declares, and sends each call of its code to the strategy's process:
repairs and warm-ups one by one, long steps as a whole (see `workers.coordinator.run.isolated_steps`). Users' objectives
and samplers run in such processes, too. Built-in ones run in the searching process itself.
"""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from optimizer.level.spec import Level
from optimizer.search.methods.remote import samplers_run_by
from optimizer.strategies.proxy import BarStrategyProxy, SignalStrategyProxy, StrategyDeclaration, proxy_of
from optimizer.strategies.registry import find_own_by
from optimizer.strategies.time_limit import IMPORT_FACTOR
from tradeschool.errors import StrategyFailed, StrategyNotImported
from workers.isolation.strategy_allowlist import UserCode, user_code
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

RESPONSE_SECONDS = 10.0
"""Time limit for a repair or a warm-up."""
SAMPLE_SECONDS = 120.0
"""Time limit for the requests of a sampler that one call repeats at most; each repeated trial adds a second."""
IMPORT_SETTING = "work.import_timeout_seconds"
ATTEMPTS = 3
"""Processes that may die over one step."""
LOG_SECONDS = 5.0
"""Wait after which a message names the step, and the time between two such messages."""

log = logging.getLogger(__name__)


def _never() -> bool:
    return False


class StrategyHost:
    """Starts a process per strategy on first use, and again after it has died."""

    def __init__(self, settings: IsolationSettings, on_message: MessageCallback) -> None:
        self._settings, self._on_message = settings, on_message
        self._processes: dict[UserCode, StrategyProcess] = {}
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
                self._running(UserCode(name), _never)
            return self._proxies[name]

    def import_code(self, code: UserCode) -> None:
        """Import a user's object in its process; raises as `find`."""
        with self._lock:
            self._running(code, _never)

    def run_sampler(self, name: str, what: str, facts: dict[str, object]) -> Any:
        """Run a step of a user's sampler in its process and return its result; raises as `call`."""
        number = facts.get("number", 0)
        assert isinstance(number, int)
        step = f"proposing trial {number}" if what == "sample" else "the check that it can be repeated"
        request = {"do": what, "facts": facts, "step": step}
        return self._call(UserCode(name, "sampler"), request, SAMPLE_SECONDS + number, ignore, _never)

    def call(
        self,
        code: UserCode,
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
        return self._call(code, {"do": what, "facts": facts, "step": step}, None, on_part, stop)

    def close(self) -> None:
        """End every process."""
        with self._lock:
            for process in self._processes.values():
                process.end()
            self._processes.clear()

    def _call(
        self, code: UserCode, request: Message, seconds: float | None, on_part: PartCallback, stop: StopCheck
    ) -> Any:
        deaths = 0
        with self._lock:
            while True:
                process = self._running(code, stop)
                try:
                    on_wait = self._on_wait(
                        f"{code.kind} {code.name}: waiting for {request['step']}" if seconds else ""
                    )
                    return _result(process.call(request, seconds, on_part, stop, on_wait))
                except StrategyProcessEnded as error:
                    deaths += 1
                    _log_end(code.name, request["step"], str(error))
                    if deaths >= ATTEMPTS:
                        raise StrategyFailed(code.name, request["step"], str(error), deaths, code.kind) from None

    def _running(self, code: UserCode, stop: StopCheck) -> StrategyProcess:
        """The process of a user's object, its module imported."""
        found = self._processes.get(code)
        if found is not None and not found.is_ended:
            return found
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._processes[code] = self._start(code, stop)
            except StrategyProcessEnded as error:
                _log_end(code.name, "import", str(error))
                if error.is_late or attempt == ATTEMPTS:  # an import that does not end is not tried again
                    limit = f" ({IMPORT_SETTING})" if error.is_late else ""
                    raise StrategyNotImported(code.name, f"{error}{limit}", attempt, code.kind) from None
            else:
                return self._processes[code]
        raise AssertionError("the last attempt returns or raises")

    def _start(self, code: UserCode, stop: StopCheck) -> StrategyProcess:
        process, name = StrategyProcess(code.name, code.kind, self._settings), code.name
        try:
            process.wait_until_ready(stop, self._on_wait(f"{code.kind} {name}: waiting for its process to start"))
            request = {"do": "import", "facts": {}, "step": "import"}
            on_wait = self._on_wait(f"{code.kind} {name}: waiting for its import")
            seconds = IMPORT_FACTOR * self._settings.import_seconds
            declared = _result(process.call(request, seconds, ignore, stop, on_wait))
            if code.kind == "strategy":
                proxy = proxy_of(
                    StrategyDeclaration.from_json(declared), lambda what, facts: self._short_call(code, what, facts)
                )
                self._proxies.setdefault(name, proxy)
        except BaseException:
            process.end()
            raise
        return process

    def _short_call(self, code: UserCode, what: str, facts: dict[str, object]) -> Any:
        seconds = min(RESPONSE_SECONDS, self._settings.trial_seconds)
        step = "warm-up" if what == "warm_up" else what
        return self._call(code, {"do": what, "facts": facts, "step": step}, seconds, ignore, _never)

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
        with find_own_by(_host.find), samplers_run_by(_host.run_sampler):
            yield _host
    finally:
        _host.close()
        _host = before


def host_for(levels: Sequence[Level]) -> tuple[StrategyHost, UserCode] | None:
    """The host that runs steps with these levels' users' code, and the object whose process to use.

    None where this process runs them: all is built in, or `isolated_strategies` is not active.
    """
    found = user_code(levels)
    return (_host, found[0]) if _host is not None and found else None


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
