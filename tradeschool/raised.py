"""What a stranger's code raised, as one line that is safe in a log and on a terminal."""

import traceback
from pathlib import Path

MOST = 512
"""Characters that are kept of a text."""


def one_line(text: str, most: int = MOST) -> str:
    """The text on one line: no control character, no lone surrogate, and no more than so many characters."""
    whole = text[: 8 * most].encode("utf-8", "replace").decode()
    shown = "".join(each if each.isprintable() else " " for each in whole)
    return " ".join(shown.split())[:most]


def raised(error: BaseException) -> str:
    """What was raised, what it says, and the innermost line of code that it comes from."""
    try:
        said = one_line(str(error))
    except Exception:  # noqa: BLE001  # its own __str__ may raise
        said = ""
    words = [f"{type(error).__name__}:" if said else type(error).__name__, said, _where(error)]
    return " ".join(word for word in words if word)


def _where(error: BaseException) -> str:
    frames = [each for each in traceback.extract_tb(error.__traceback__) if not each.filename.startswith("<frozen")]
    if isinstance(error, SyntaxError) or not frames:  # it says so itself, or nothing is known
        return ""
    return f"({one_line(Path(frames[-1].filename).name)}, line {frames[-1].lineno})"
