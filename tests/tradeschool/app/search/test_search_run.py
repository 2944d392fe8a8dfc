"""Ctrl-C during a search ends the command as an interrupt, whatever exception native code makes of it."""

import signal

import pytest

from tradeschool.app.search.search_run import interrupts
from tradeschool.errors import SettingsError


def press_and_raise(error: Exception) -> None:
    with interrupts():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise error from None


def test_an_exception_that_replaces_the_interrupt_is_one() -> None:
    with pytest.raises(KeyboardInterrupt):
        press_and_raise(ValueError("Error serializing to JSON: KeyboardInterrupt"))


def test_an_error_with_its_own_line_keeps_it() -> None:
    with pytest.raises(SettingsError, match="no such run"):
        press_and_raise(SettingsError("no such run"))


def test_without_ctrl_c_an_exception_stays() -> None:
    with pytest.raises(ValueError, match="bad"), interrupts():
        raise ValueError("bad")
