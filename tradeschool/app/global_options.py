"""The options of `tradeschool` itself. Every command sets them, so this module imports no library."""

from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalOptions:
    """The options of `tradeschool` itself; commands that this process starts get the same."""

    settings_file: Path | None = None
    """None: `tradeschool.toml` of the working folder."""
    log_format: str | None = None
    verbose: bool = False


GLOBAL_OPTIONS = ContextVar("GLOBAL_OPTIONS", default=GlobalOptions())  # noqa: B039  # frozen
"""Set at the start of a command, or for one call of the Python API."""
