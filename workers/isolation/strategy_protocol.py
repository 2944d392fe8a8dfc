"""Messages between a process and the one that runs a user's strategy for it: a length, then so much JSON."""

import json
import socket
import struct
from collections.abc import Mapping
from typing import Any

from tradeschool import errors
from tradeschool.errors import StrategyFailed, StrategyNotImported, TradeschoolError

HEADER = struct.Struct("!Q")
MAX_BYTES = 256_000_000
"""Of a message: the recommendation on a long run is some megabytes."""
Message = Mapping[str, Any]


def send(line: socket.socket, message: Message) -> None:
    """Write one message."""
    body = json.dumps(message, default=_plain_number).encode()
    line.sendall(HEADER.pack(len(body)) + body)


def receive(line: socket.socket) -> Message | None:
    """Read one message; None where the other side is gone, or speaks no sense."""
    try:
        header = _read(line, HEADER.size)
        if header is None:
            return None
        (length,) = HEADER.unpack(header)
        body = _read(line, length) if length <= MAX_BYTES else None
        found = None if body is None else json.loads(body)
    except (ConnectionError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def error_as_json(error: TradeschoolError) -> dict[str, object]:
    """An error of the project's own, for `error_of`."""
    if isinstance(error, StrategyNotImported):
        return {"strategy": error.strategy, "reason": error.reason}
    if isinstance(error, StrategyFailed):
        return {"strategy": error.strategy, "step": error.step, "reason": error.reason}
    known = (each.__name__ for each in type(error).__mro__ if _plain_class(each.__name__))
    return {"kind": next(known), "said": str(error)}


def error_of(told: Message) -> TradeschoolError:
    """The error that `error_as_json` wrote."""
    if "kind" in told:
        return (_plain_class(str(told["kind"])) or TradeschoolError)(str(told["said"]))
    if "step" in told:
        return StrategyFailed(str(told["strategy"]), str(told["step"]), str(told["reason"]))
    return StrategyNotImported(str(told["strategy"]), str(told["reason"]))


def _plain_class(name: str) -> type[TradeschoolError] | None:
    """An error of that name that is made from its message alone."""
    found = getattr(errors, name, None)
    if not isinstance(found, type) or not issubclass(found, TradeschoolError):
        return None
    own = [each for each in found.__mro__ if issubclass(each, TradeschoolError)]
    return None if any("__init__" in vars(each) for each in own) else found


def _plain_number(value: object) -> object:
    """What NumPy calls a number, as Python does."""
    item = getattr(value, "item", None)
    if item is None:
        raise TypeError(f"expected a number or a text, was {type(value).__name__}")
    return item()


def _read(line: socket.socket, length: int) -> bytes | None:
    parts: list[bytes] = []
    while length:
        part = line.recv(min(length, 1 << 16))
        if not part:
            return None
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
