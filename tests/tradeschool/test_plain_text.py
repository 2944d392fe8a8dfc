import pytest

from tradeschool.plain_text import plain, plain_error


class Untold(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("division by zero", "division by zero"),
        ("Überschuß, 市場, 🙂, a\u00a0b", "Überschuß, 市場, 🙂, a\u00a0b"),
        ("one\ntwo\r\n", r"one\ntwo\r\n"),
        ("\x1b[31mred\x07\x00\x9b", r"\x1b[31mred\x07\x00\x9b"),
        ("half \ud800", r"half \ud800"),
        ("\u2028line \u202eturned\u2066", r"\u2028line \u202eturned\u2066"),
        ("", ""),
    ],
)
def test_unprintable_characters_are_escaped(text: str, shown: str) -> None:
    assert plain(text) == shown
    assert plain(text).encode().decode() == shown
    assert len(plain(text).splitlines()) <= 1


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
        (KeyError("a\nb"), r"KeyError: 'a\nb'"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (Untold(), "Untold: its text cannot be told: RuntimeError"),
    ],
)
def test_an_exception_is_formatted_in_one_line(error: BaseException, told: str) -> None:
    assert plain_error(error) == told
