"""Messages between a process and the one that runs a user's strategy for it: a length, then JSON of that length."""

import json
import socket
import struct
from collections.abc import Mapping
from typing import Any

from tradeschool import errors
from tradeschool.errors import StrategyFailed, StrategyNotImported, TradeschoolError

HEADER = struct.Struct("!Q")
MAX_BYTES = 256_000_000
"""Limit of a message; the recommendation of a long run takes some megabytes."""
Message = Mapping[str, Any]


def send(line: socket.socket, message: Message) -> None:
    """Write one message."""
    body = json.dumps(message, default=_plain_number).encode()
    line.sendall(HEADER.pack(len(body)) + body)


def receive(line: socket.socket) -> Message | None:
    """Read one message; None if the other side has closed, or the message is invalid."""
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
    """Serialize one of the project's errors for `error_of`."""
    if isinstance(error, StrategyNotImported):
        return {"strategy": error.strategy, "reason": error.reason, "code": error.kind}
    if isinstance(error, StrategyFailed):
        return {"strategy": error.strategy, "step": error.step, "reason": error.reason, "code": error.kind}
    known = (each.__name__ for each in type(error).__mro__ if _plain_class(each.__name__))
    return {"kind": next(known), "message": str(error)}


def error_of(content: Message) -> TradeschoolError:
    """Restore an error from `error_as_json`."""
    if "kind" in content:
        return (_plain_class(str(content["kind"])) or TradeschoolError)(str(content["message"]))
    name, reason, code = (str(content[key]) for key in ("strategy", "reason", "code"))
    if "step" in content:
        return StrategyFailed(name, str(content["step"]), reason, kind=code)
    return StrategyNotImported(name, reason, kind=code)


def _plain_class(name: str) -> type[TradeschoolError] | None:
    """The error class of that name, if its constructor takes the message alone."""
    found = getattr(errors, name, None)
    if not isinstance(found, type) or not issubclass(found, TradeschoolError):
        return None
    own = [each for each in found.__mro__ if issubclass(each, TradeschoolError)]
    return None if any("__init__" in vars(each) for each in own) else found


def _plain_number(value: object) -> object:
    """Convert a number of NumPy to one of Python."""
    item = getattr(value, "item", None)
    if item is None:
        raise TypeError(f"expected a number or text, was {type(value).__name__}")
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
