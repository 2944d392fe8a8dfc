"""How a process logs: text for people, JSON lines for machines, always on standard error."""

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

from tradeschool.plain import plain

_OWN_FIELDS = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_FACTS = "_tradeschool_facts"
_ABOUT: ContextVar[Mapping[str, object]] = ContextVar("about", default={})  # noqa: B039  # a mapping nobody changes


@contextmanager
def about(**facts: object) -> Iterator[None]:
    """What every line until the block ends is about: run, level, trial, dataset, worker; a line's own values win.

    An exception that leaves the block keeps the facts, and a line that logs it tells them. Holds for this thread or
    task and for processes that are forked from it, not for threads that are started.
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
    """What was at work where an exception was raised; the innermost block's word stands."""
    found: Mapping[str, object] = getattr(error, _FACTS, {})
    return found


def configure(log_format: Literal["text", "json"], *, level: int = logging.INFO) -> None:
    """Send this process' log to standard error, in the given form, from the given level on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if log_format == "json" else TextLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for chatty in ("rq", "optuna", "matplotlib", "aiohttp", "asyncio"):
        logger = logging.getLogger(chatty)
        logger.setLevel(max(level, logging.WARNING))
        logger.handlers.clear()  # Optuna brings one of its own, in a form of its own
        logger.propagate = True


class TextLines(logging.Formatter):
    """`17:42:03 WARNING fetcher.client: message key=value`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the traceback where there is one."""
        clock = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        values = "".join(f" {name}={value}" for name, value in _extra(record).items())
        line = plain(f"{clock} {record.levelname} {record.name}: {record.getMessage()}{values}")
        return f"{line}\n{_indented(self.formatException(record.exc_info))}" if record.exc_info else line


class JsonLines(logging.Formatter):
    """One JSON object a line: time, severity, logger, message, the values of `extra` and what the line is about.

    `level` is a level of the curriculum.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line; the traceback, where there is one, under `exception`."""
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
