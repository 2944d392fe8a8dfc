"""Durations in words; imports nothing, so that every command can use it."""


def duration(seconds: float | None) -> str:
    """Format a duration, for example `2 h 5 min`; a dash if it is unknown."""
    if seconds is None:
        return "-"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
