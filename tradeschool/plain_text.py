"""Foreign text as one printable line: control characters and lone surrogates are escaped.

An exception's text may hold a line break, an escape sequence or a lone surrogate. Such text could forge log lines,
move a terminal's cursor, or fail to be encoded.
"""

import traceback
import unicodedata
from pathlib import Path

MAX_LENGTH = 512
"""Characters kept of an exception's text by `located_error`."""


def plain(text: str) -> str:
    """Return the text with every unprintable character escaped, such as `\\n` or `\\x1b`."""
    if text.isprintable():
        return text
    return "".join(letter if _is_shown(letter) else letter.encode("unicode_escape").decode() for letter in text)


def plain_error(error: BaseException) -> str:
    """Return type and text such as `ZeroDivisionError: division by zero`, even if the exception's `__str__` raises."""
    name = type(error).__name__
    try:
        text = str(error)
    except Exception as another:  # noqa: BLE001  # __str__ is foreign code, too
        text = f"its text cannot be told: {type(another).__name__}"
    return plain(f"{name}: {text}" if text else name)


def located_error(error: BaseException) -> str:
    """Return type, text and innermost line of code, such as `KeyError: 'x' (my.py, line 3)`."""
    told = plain_error(error)[:MAX_LENGTH]
    frames = [each for each in traceback.extract_tb(error.__traceback__) if not each.filename.startswith("<frozen")]
    if isinstance(error, SyntaxError) or not frames:  # a SyntaxError names its line itself
        return told
    return f"{told} ({plain(Path(frames[-1].filename).name)}, line {frames[-1].lineno})"


def _is_shown(letter: str) -> bool:
    return letter.isprintable() or unicodedata.category(letter) == "Zs"  # spaces of every width
