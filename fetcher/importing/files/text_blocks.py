"""Text files as blocks of whole lines: decodes them to UTF-8 with `\\n` and counts the lines."""

import codecs
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from fetcher.importing.files.errors import invalid

BLOCK_BYTES = 4 << 20
"""Bytes of a file that are held at once."""
LONGEST_LINE = 1 << 16
ENCODINGS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte-order marks and what they announce; without a mark, a text is UTF-8."""


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines of a text in UTF-8, each ended by a line feed."""

    body: bytes
    first_line: int
    """Number of the first line in the file, from 1."""


def blocks(file: IO[bytes], name: str, size: int = BLOCK_BYTES) -> Iterator[Block]:
    """Yield a text file in blocks of about `size` bytes.

    Raises:
        InvalidCandles: if the file cannot be decompressed or decoded, or a line is too long.
    """
    line, rest = 1, b""
    for chunk in _decoded(file, name, size):
        body = rest + chunk
        cut = body.rfind(b"\n") + 1
        rest = body[cut:]
        if len(rest) > LONGEST_LINE:
            raise invalid(name, "is too long for a row of a table", line=line + body.count(b"\n", 0, cut))
        if cut:
            yield _checked(body[:cut], name, line)
            line += body.count(b"\n", 0, cut)
    if rest.strip():
        yield _checked(rest + b"\n", name, line)


def _decoded(file: IO[bytes], name: str, size: int) -> Iterator[bytes]:
    head = _read(file, 4, name)
    mark, encoding = next((each for each in ENCODINGS if head.startswith(each[0])), (b"", "utf-8"))
    chunk = head[len(mark) :] + _read(file, size, name)
    decoder = None if encoding == "utf-8" else codecs.getincrementaldecoder(encoding)("strict")
    while chunk:
        if chunk.endswith(b"\r"):
            chunk += _read(file, 1, name)
        if decoder:
            try:
                chunk = decoder.decode(chunk).encode()
            except UnicodeError as error:
                raise invalid(name, f"is not {encoding.upper()} as its byte-order mark says: {error}") from error
        yield chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in chunk else chunk
        chunk = _read(file, size, name)


def _read(file: IO[bytes], size: int, name: str) -> bytes:
    try:
        return file.read(size)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise invalid(name, f"cannot be unpacked or read: {error}") from error


def _checked(body: bytes, name: str, line: int) -> Block:
    """Return a block after checking that it is UTF-8 text."""
    if (place := body.find(b"\0")) >= 0:
        raise invalid(name, "has NUL bytes: not a text in UTF-8", line=line + body.count(b"\n", 0, place))
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as error:
            at = line + body.count(b"\n", 0, error.start)
            raise invalid(name, "is not UTF-8; save the file as UTF-8", line=at) from error
    return Block(body, line)
