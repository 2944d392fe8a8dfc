"""The process that imports a user's strategy and runs its code for a search; `workers.isolation.strategy_process`
starts it.

    python -P -m workers.coordinator.isolated_child DESCRIPTOR PARENT

It answers one question after another and ends with its parent. What the strategy's code does to it, the parent sees.
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
"""A trial looks at train alone; what is done here holds validation, test and the holdout period as well."""


def main() -> None:
    """Answer until the parent asks no more."""
    line, me = socket.socket(fileno=int(sys.argv[1])), os.getpid()
    os.set_inheritable(line.fileno(), False)
    die_with_parent(int(sys.argv[2]), signal.SIGKILL)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they are for the parent, which ends this process
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    terms = receive(line)
    if terms is None:
        return
    log.configure(terms["log_format"], level=terms["log_level"])
    if terms["memory_bytes"]:
        limit_memory(MEMORY_SHARES * terms["memory_bytes"])
    send(line, {"ready": True})
    while asked := receive(line):
        answer = _answer(line, terms, asked)
        if os.getpid() != me:  # a fork of the strategy's own
            os._exit(0)
        send(line, answer)


def _answer(line: socket.socket, terms: Message, asked: Message) -> Message:
    name, step = str(terms["strategy"]), str(asked["step"])
    try:
        return {"done": _do(line, name, asked["do"], asked["facts"], terms["call_seconds"])}
    except TradeschoolError as error:
        if (reason := getattr(error, "ended", None)) is not None:
            return {"ended": reason}
        return {"error": error_as_json(error)}
    except BaseException as error:  # noqa: BLE001  # a stranger's code: whatever it raises is its answer
        return {"error": error_as_json(StrategyFailed(name, step, located_error(error)))}


def _do(line: socket.socket, name: str, what: str, facts: dict[str, Any], call_seconds: float) -> object:
    strategy: Strategy = load(name)
    bound_each_call(None)  # the parent looks at the clock
    match what:
        case "describe":
            return StrategyDeclaration.of(strategy).as_json()
        case "repair":
            return repaired(strategy, facts["parameters"])
        case "warm_up":
            bounds = {each: (low, high) for each, (low, high) in facts["bounds"].items()}
            return warm_up_of(strategy, bounds, Timeframe[facts["timeframe"]])
    # What a search's end needs takes seconds to import, and most questions do not need it.
    from workers.coordinator.isolated_steps import STEPS

    bound_each_call(call_seconds)
    return STEPS[what](facts, lambda part: send(line, {"part": part}))


if __name__ == "__main__":
    main()
