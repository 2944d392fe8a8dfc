"""Says how a process ended."""

import signal


def ended_words(code: int, call_seconds: float | None) -> str:
    """How a process ended by itself, from its exit code; a single backtest was given so many seconds."""
    if code == -signal.SIGALRM and call_seconds:
        return f"a backtest did not end within {call_seconds:g} s (work.trial_timeout_seconds)"
    if code == -signal.SIGKILL:
        return "its process was killed by SIGKILL, perhaps for want of memory"
    if code < 0:
        return f"its process was killed by {signal.Signals(-code).name}"
    return f"its process ended with exit code {code}"
