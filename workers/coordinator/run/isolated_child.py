"""The program of a strategy's process: imports a user's strategy and runs its code for a search.

    python -P -m workers.coordinator.run.isolated_child DESCRIPTOR PARENT

`workers.isolation.strategy_process` starts it and handles its death. It serves one request after another and ends
with its parent.
"""

import os
import signal
import socket
import sys
from typing import Any

from optimizer.strategies.protocol import Strategy, load, repaired, warm_up_of
from optimizer.strategies.proxy import StrategyDeclaration
from optimizer.strategies.time_limit import bound_each_call
from tradeschool import log
from tradeschool.errors import StrategyFailed, TradeschoolError
from tradeschool.markets.timeframes import Timeframe
from tradeschool.plain_text import located_error
from workers.isolation.strategy_protocol import Message, error_as_json, receive, send
from workers.processes.memory_limit import limit_memory
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
    if settings["memory_bytes"]:
        limit_memory(MEMORY_SHARES * settings["memory_bytes"])
    send(line, {"ready": True})
    while request := receive(line):
        response = _respond(line, settings, request)
        if os.getpid() != me:  # a fork by the strategy
            os._exit(0)
        send(line, response)


def _respond(line: socket.socket, settings: Message, request: Message) -> Message:
    name, step = str(settings["strategy"]), str(request["step"])
    try:
        return {"done": _do(line, name, request["do"], request["facts"], settings["call_seconds"])}
    except TradeschoolError as error:
        if (reason := getattr(error, "exit_reason", None)) is not None:
            return {"ended": reason}
        return {"error": error_as_json(error)}
    except BaseException as error:  # noqa: BLE001  # a strategy may raise anything
        return {"error": error_as_json(StrategyFailed(name, step, located_error(error)))}


def _do(line: socket.socket, name: str, what: str, facts: dict[str, Any], call_seconds: float) -> object:
    strategy: Strategy = load(name)
    bound_each_call(None)  # the parent limits the time
    match what:
        case "describe":
            return StrategyDeclaration.of(strategy).as_json()
        case "repair":
            return repaired(strategy, facts["parameters"])
        case "warm_up":
            bounds = {each: (low, high) for each, (low, high) in facts["bounds"].items()}
            return warm_up_of(strategy, bounds, Timeframe[facts["timeframe"]])
    # Imported late: the analyses take seconds to import, and most requests do not need them.
    from workers.coordinator.run.isolated_steps import STEPS

    bound_each_call(call_seconds)
    return STEPS[what](facts, lambda part: send(line, {"part": part}))


if __name__ == "__main__":
    main()
