"""The program of a strategy's process: imports a user's strategy, objective or sampler and runs it for a search.

    python -P -m workers.coordinator.run.isolated_child DESCRIPTOR PARENT

`workers.isolation.strategy_process` starts it and handles its death. It serves one request after another and ends
with its parent.
"""

import os
import signal
import socket
import sys
from typing import Any

from optimizer.strategies.protocol import load, repaired, warm_up_of
from optimizer.strategies.proxy import StrategyDeclaration
from optimizer.strategies.registry import find_objective, find_sampler
from optimizer.strategies.time_limit import bound_each_call, processor_time
from tradeschool import log
from tradeschool.errors import StrategyFailed, TradeschoolError
from tradeschool.markets import registry
from tradeschool.markets.timeframes import Timeframe
from tradeschool.plain_text import located_error
from workers.isolation.strategy_allowlist import UserCode
from workers.isolation.strategy_protocol import Message, error_as_json, receive, send
from workers.processes.memory_limit import default_limit, limit_memory
from workers.processes.parent_death import die_with_parent

MEMORY_SHARES = 4
"""Factor of a trial's memory limit: a trial reads train, this process also validation, test and the holdout period."""


def main() -> None:
    """Serve requests until the parent closes the socket."""
    line, me = socket.socket(fileno=int(sys.argv[1])), os.getpid()
    os.set_inheritable(line.fileno(), False)
    die_with_parent(int(sys.argv[2]), signal.SIGKILL)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the parent handles them and ends this process
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    settings = receive(line)
    if settings is None:
        return
    log.configure(settings["log_format"], level=settings["log_level"])
    registry.use_json(settings["instruments"])
    limit_memory(_memory_limit(settings["memory_bytes"]))
    send(line, {"ready": True})
    while request := receive(line):
        response = _respond(line, settings, request)
        if os.getpid() != me:  # a fork by the strategy
            os._exit(0)
        send(line, response)


def _memory_limit(trial_bytes: int | None) -> int:
    """`MEMORY_SHARES` trials' memory, and no more than half of the machine's unless a single trial may have more.

    The processes that share a step inherit it, each for itself.
    """
    return (
        default_limit() if trial_bytes is None else max(trial_bytes, min(MEMORY_SHARES * trial_bytes, default_limit()))
    )


def _respond(line: socket.socket, settings: Message, request: Message) -> Message:
    code, step = UserCode(str(settings["name"]), str(settings["kind"])), str(request["step"])
    try:
        with processor_time(settings["import_seconds"]):
            _find(code)
        return {"done": _do(line, code, request["do"], request["facts"], settings["call_seconds"])}
    except TradeschoolError as error:
        if (reason := getattr(error, "exit_reason", None)) is not None:
            return {"ended": reason}
        return {"error": error_as_json(error)}
    except BaseException as error:  # noqa: BLE001  # a strategy may raise anything
        return {"error": error_as_json(StrategyFailed(code.name, step, located_error(error), kind=code.kind))}


def _find(code: UserCode) -> object:
    """Return the user's object; its module is imported once."""
    match code.kind:
        case "objective":
            return find_objective(code.name)
        case "sampler":
            return find_sampler(code.name)
    return load(code.name)


def _do(line: socket.socket, code: UserCode, what: str, facts: dict[str, Any], call_seconds: float) -> object:
    bound_each_call(None)  # the parent limits the time
    match what:
        case "import":
            return StrategyDeclaration.of(load(code.name)).as_json() if code.kind == "strategy" else None
        case "repair":
            return repaired(load(code.name), facts["parameters"])
        case "warm_up":
            bounds = {each: (low, high) for each, (low, high) in facts["bounds"].items()}
            return warm_up_of(load(code.name), bounds, Timeframe[facts["timeframe"]])
        case "sample" | "check_sampler":
            return _run_sampler(what, facts)
    # Imported late: the analyses take seconds to import, and most requests do not need them.
    from workers.coordinator.run.isolated_steps import STEPS

    bound_each_call(call_seconds)
    return STEPS[what](facts, lambda part: send(line, {"part": part}))


def _run_sampler(what: str, facts: dict[str, Any]) -> object:
    # Imported late: Optuna takes half a second to import, and strategies do not need it.
    from optimizer.search.methods.user_sampler import case_from_json, check_repeatable, sampler_server

    if what == "sample":
        return sampler_server().sample(facts)
    check_repeatable(case_from_json(facts["case"]))
    return None


if __name__ == "__main__":
    main()
