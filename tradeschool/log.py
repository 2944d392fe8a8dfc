"""Logging to standard error, as text or as JSON lines, with context fields such as run, level and trial."""

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

from tradeschool.plain_text import plain

_OWN_FIELDS = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_FACTS = "_tradeschool_facts"
_ABOUT: ContextVar[Mapping[str, object]] = ContextVar("about", default={})  # noqa: B039  # never mutated


@contextmanager
def about(**facts: object) -> Iterator[None]:
    """Add context fields (run, level, trial, dataset, worker) to every log line of the block.

    A line's own values take precedence. An exception that leaves the block carries the fields, and the line that logs
    it includes them. The context applies to this thread or task and to processes forked from it, not to new threads.
    """
    token = _ABOUT.set({**_ABOUT.get(), **facts})
    try:
        yield
    except BaseException as error:
        setattr(error, _FACTS, {**facts, **facts_of(error)})
        raise
    finally:
        _ABOUT.reset(token)


def facts_of(error: BaseException | None) -> Mapping[str, object]:
    """Return the context fields of the place where an exception was raised; inner blocks take precedence."""
    found: Mapping[str, object] = getattr(error, _FACTS, {})
    return found


def configure(log_format: Literal["text", "json"], *, level: int = logging.INFO) -> None:
    """Configure the root logger: standard error, the given format and the given minimum level."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if log_format == "json" else TextLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for chatty in ("rq", "optuna", "matplotlib", "aiohttp", "asyncio"):
        logger = logging.getLogger(chatty)
        logger.setLevel(max(level, logging.WARNING))
        logger.handlers.clear()  # Optuna installs a handler with its own format
        logger.propagate = True


class TextLines(logging.Formatter):
    """Formats a record as `17:42:03 WARNING fetcher.http.client: message key=value`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, followed by the traceback if the record has one."""
        clock = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        values = "".join(f" {name}={value}" for name, value in _extra(record).items())
        line = plain(f"{clock} {record.levelname} {record.name}: {record.getMessage()}{values}")
        return f"{line}\n{_indented(self.formatException(record.exc_info))}" if record.exc_info else line


class JsonLines(logging.Formatter):
    """Formats a record as one JSON object: time, severity, logger, message, `extra` values and context fields.

    The field `level` is a level of the curriculum, not the severity.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of JSON; a traceback is stored under `exception`."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "severity": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _indented(traceback: str) -> str:
    """Below a line and apart from the lines of a log, whatever text an exception has."""
    return "\n".join(f"    {plain(line)}" for line in traceback.splitlines())


def _extra(record: logging.LogRecord) -> dict[str, object]:
    own = {name: value for name, value in vars(record).items() if name not in _OWN_FIELDS}
    raised = facts_of(record.exc_info[1]) if record.exc_info else {}
    return {**_ABOUT.get(), **raised, **own}
