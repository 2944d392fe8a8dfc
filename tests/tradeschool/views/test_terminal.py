"""Colours on a terminal only, and never with NO_COLOR."""

import io

import pytest

from tradeschool.views.terminal import console

COLOUR = "\x1b[31m"


class Terminal(io.StringIO):
    """Standard output of a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "no_colour", "is_coloured"),
    [(Terminal, None, True), (Terminal, "1", False), (io.StringIO, None, False)],
    ids=["terminal", "NO_COLOR", "file"],
)
def test_colours_are_off_by_no_color_and_in_files(
    stream: type[io.StringIO], no_colour: str | None, is_coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    if no_colour:
        monkeypatch.setenv("NO_COLOR", no_colour)
    written = stream()
    monkeypatch.setattr("sys.stdout", written)
    console().print("[red]loss[/]")

    assert "loss" in written.getvalue()
    assert (COLOUR in written.getvalue()) is is_coloured
