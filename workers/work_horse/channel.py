"""The line between a worker and its horse: messages of a kind, a number and a body, over one socket."""

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

HEADER = struct.Struct("!cIQ")
"""Kind, number, and length of what follows."""
MAX_BYTES = 64_000_000
"""Of a body: an answer to one trial is some kilobytes."""
CHUNK = 1 << 16
SEND_SECONDS = 5.0
"""For an order that is longer than a socket holds."""

ORDER = b"O"
"""To the horse; its number is the time-out in seconds."""
STAGE = b"S"
"""The horse begins a step of getting ready, by its place."""
CHANGED = b"C"
"""What the order has changed in the horse's process; comes before its end."""
TOLD = b"T"
"""A line for the log."""
ANSWER, FAILURE = b"A", b"F"
"""The end of an order."""


@dataclass(frozen=True, slots=True)
class Message:
    """What one side says."""

    kind: bytes
    number: int
    body: bytes


class Line:
    """The worker's end. It never waits: half a message is kept until the rest comes, or nobody wants it any more."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end, self._held = end, bytearray()
        self.is_over = False
        """Whether nothing more will come: the other end is closed, or speaks no sense."""

    def fileno(self) -> int:
        """To be polled."""
        return self._end.fileno()

    def read(self) -> None:
        """Take up what has come, a part of it where it is much."""
        try:
            part = self._end.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            part = b""
        self._held += part
        self.is_over = not part

    def messages(self) -> Iterator[Message]:
        """Those that have come whole."""
        while len(self._held) >= HEADER.size:
            kind, number, length = HEADER.unpack_from(self._held)
            if length > MAX_BYTES:
                self._held.clear()
                self.is_over = True
                return
            end = HEADER.size + length
            if len(self._held) < end:
                return
            body = bytes(self._held[HEADER.size : end])
            del self._held[:end]
            yield Message(kind, number, body)

    def send(self, message: Message) -> None:
        """Hand a message over; a horse that waits for an order takes it at once, and a dead one is noticed later."""
        self._end.settimeout(SEND_SECONDS)
        with suppress(OSError):
            self._end.sendall(HEADER.pack(message.kind, message.number, len(message.body)) + message.body)
        self._end.setblocking(False)

    def close(self) -> None:
        """Nobody listens any more."""
        self._end.close()
        self.is_over = True


def say(end: socket.socket, kind: bytes, body: bytes = b"", number: int = 0) -> None:
    """The horse's way to speak; it waits until the worker has taken it."""
    end.sendall(HEADER.pack(kind, number, len(body)) + body)


def hear(end: socket.socket) -> Message | None:
    """The horse's way to listen; None where the worker is gone."""
    with suppress(ConnectionResetError):
        if (header := _read(end, HEADER.size)) is None:
            return None
        kind, number, length = HEADER.unpack(header)
        body = _read(end, length)
        return None if body is None else Message(kind, number, body)
    return None


def _read(end: socket.socket, length: int) -> bytes | None:
    parts: list[bytes] = []
    while length:
        if not (part := end.recv(min(length, CHUNK))):
            return None
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
