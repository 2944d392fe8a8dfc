"""The channel between a worker and its work horse: messages with a kind, a number and a body over one socket."""

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

HEADER = struct.Struct("!cIQ")
"""Kind, number, and length of the body."""
MAX_BYTES = 64_000_000
"""Limit of a body; a result of one trial takes some kilobytes."""
CHUNK = 1 << 16
SEND_SECONDS = 5.0
"""Time limit for sending a batch that is longer than the socket's buffer."""

BATCH = b"B"
"""To the work horse; the number is the time-out in seconds."""
STEP = b"S"
"""The work horse starts a preparation step; the number is its position."""
CHANGES = b"C"
"""What the batch has changed in the process; sent before the result."""
LOG = b"L"
"""A line for the log."""
RESULT, FAILURE = b"R", b"F"
"""The end of a batch."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of either side."""

    kind: bytes
    number: int
    body: bytes


class Channel:
    """The worker's end. Reading never blocks: a partial message is kept until the rest arrives."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end, self._buffer = end, bytearray()
        self.is_closed = False
        """Whether no more messages will come: the other end is closed, or has sent an invalid length."""

    def fileno(self) -> int:
        """The descriptor to poll."""
        return self._end.fileno()

    def read(self) -> None:
        """Read up to `CHUNK` available bytes into the buffer."""
        try:
            part = self._end.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            part = b""
        self._buffer += part
        self.is_closed = not part

    def messages(self) -> Iterator[Message]:
        """Yield the complete messages of the buffer and remove them."""
        while len(self._buffer) >= HEADER.size:
            kind, number, length = HEADER.unpack_from(self._buffer)
            if length > MAX_BYTES:
                self._buffer.clear()
                self.is_closed = True
                return
            end = HEADER.size + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[HEADER.size : end])
            del self._buffer[:end]
            yield Message(kind, number, body)

    def send(self, message: Message) -> None:
        """Send a message; errors are ignored, because a dead work horse is noticed by the next read."""
        self._end.settimeout(SEND_SECONDS)
        with suppress(OSError):
            send(self._end, message.kind, message.body, message.number)
        self._end.setblocking(False)

    def close(self) -> None:
        """Close the worker's end."""
        self._end.close()
        self.is_closed = True


def send(end: socket.socket, kind: bytes, body: bytes = b"", number: int = 0) -> None:
    """Send a message from the work horse; blocks until the worker has read it."""
    end.sendall(HEADER.pack(kind, number, len(body)) + body)


def receive(end: socket.socket) -> Message | None:
    """Wait for a message in the work horse; None once the worker has closed its end."""
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
