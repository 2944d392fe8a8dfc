"""Ctrl-C during a search ends the command as an interrupt, also if native code raises another exception."""

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


def test_an_exception_that_replaces_an_interrupt_counts_as_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt):
        press_and_raise(ValueError("Error serializing to JSON: KeyboardInterrupt"))


def test_an_error_keeps_its_own_message() -> None:
    with pytest.raises(SettingsError, match="no such run"):
        press_and_raise(SettingsError("no such run"))


def test_without_ctrl_c_an_exception_is_unchanged() -> None:
    with pytest.raises(ValueError, match="bad"), interrupts():
        raise ValueError("bad")
