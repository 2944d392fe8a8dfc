"""Text of strangers, so that it can be shown: one line, no control characters, no half characters.

An exception's text may hold a line break, an escape sequence or a lone surrogate: it would forge lines of a log, move
a terminal's cursor, or fail to be encoded at all.
"""

import unicodedata


def plain(text: str) -> str:
    """The text with everything that is not shown as itself written out, such as `\\n` or `\\x1b`."""
    if text.isprintable():
        return text
    return "".join(letter if _is_shown(letter) else letter.encode("unicode_escape").decode() for letter in text)


def plain_error(error: BaseException) -> str:
    """Such as `ZeroDivisionError: division by zero`, whatever the exception does when it is asked for its text."""
    name = type(error).__name__
    try:
        text = str(error)
    except Exception as another:  # noqa: BLE001  # the text is a stranger's code, too
        text = f"its text cannot be told: {type(another).__name__}"
    return plain(f"{name}: {text}" if text else name)


def _is_shown(letter: str) -> bool:
    return letter.isprintable() or unicodedata.category(letter) == "Zs"  # spaces of every width
