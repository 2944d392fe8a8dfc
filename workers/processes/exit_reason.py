"""The reason why a process ended, in words."""

import signal


def exit_reason(code: int, call_seconds: float | None) -> str:
    """The reason for an exit code; `call_seconds` is the time limit of a single backtest."""
    if code == -signal.SIGALRM and call_seconds:
        return f"a backtest did not end within {call_seconds:g} s (work.trial_timeout_seconds)"
    if code == -signal.SIGKILL:
        return "its process was killed by SIGKILL, possibly out of memory"
    if code < 0:
        return f"its process was killed by {signal.Signals(-code).name}"
    return f"its process ended with exit code {code}"
