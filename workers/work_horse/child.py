"""The life of a horse, in the child: it gets ready, turns one order after another into its end, and never returns."""

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from rq.timeouts import JobTimeoutException, UnixSignalDeathPenalty

from tradeschool.log import TextLines
from tradeschool.plain_text import plain_error
from workers.processes.memory_limit import lift_memory_limit, limit_memory
from workers.processes.parent_death import die_with_parent
from workers.work_horse.channel import ANSWER, CHANGED, FAILURE, STAGE, TOLD, Message, hear, say
from workers.work_horse.process_changes import changes, surroundings

FORCE_EXIT = 1
MUTE = 4
"""Exit code of a horse that cannot speak to its worker any more."""
MAX_LOGGED = 200
"""Lines for the log that an order may bring about."""
MAX_LINE = 16_384
"""Bytes of such a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One step of getting ready, before the first order is evaluated."""

    act: Callable[[bytes], None]
    """Given the order."""
    blame: str
    """How the reason begins where it fails."""
    reason: Callable[[BaseException], str] = plain_error
    """Describes what it raises."""
    most_seconds: int | None = None
    """How long it may take where that is less than an order may."""
    is_ours: bool = False
    """Whether what it allocates is not the strategy's: the limit of memory counts from its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """What a horse is for."""

    evaluate: Callable[[bytes], bytes]
    close: Callable[[], None]
    """Lets go of what belongs to the parent."""
    memory_bytes: int | None = None
    stages: Sequence[Stage] = ()
    is_strange: bool = False
    """Whether it runs a stranger's code: it writes to a pipe, and whatever an order changes is told."""


def live(line: socket.socket, parent: int, standby_run: Duty, output: int | None) -> None:
    """The child's whole life; it never returns."""
    try:
        os.setpgrp()
        die_with_parent(parent, signal.SIGKILL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        standby_run.close()
        if output is not None:
            _redirect(output)
        Rider(line, standby_run).serve()
    except BaseException:  # noqa: BLE001  # a child that returned would go on as a second worker
        os._exit(FORCE_EXIT)
    os._exit(0)


class Rider:
    """Takes orders, as long as it is the process that the worker has made."""

    def __init__(self, line: socket.socket, standby_run: Duty) -> None:
        self._line, self._duty, self._pid = line, standby_run, os.getpid()
        self._is_ready = not standby_run.stages
        self._teller = Teller(self._say)
        if standby_run.is_strange:
            logging.getLogger().handlers = [self._teller]
        if self._is_ready:
            self._limit_memory()
        self._before, self._environment = surroundings(), dict(os.environ)

    def serve(self) -> None:
        """Until the worker is gone, or wants no more."""
        while message := hear(self._line):
            kind, body = self._answer(message)
            self._say(kind, body)

    def _answer(self, message: Message) -> tuple[bytes, bytes]:
        self._teller.left = MAX_LOGGED
        if not self._is_ready and (reason := self._get_ready(message)) is not None:
            return FAILURE, reason
        if self._duty.is_strange:
            self._restore()
        end = self._evaluate(message)
        if self._duty.is_strange:
            self._tell_changes()
        return end

    def _get_ready(self, message: Message) -> bytes | None:
        """Why it is not ready, None where it is."""
        for place, stage in enumerate(self._duty.stages):
            self._say(STAGE, number=place)
            seconds = min(message.number, stage.most_seconds or message.number)
            try:
                if not stage.is_ours:
                    self._limit_memory(is_hard=False)
                with UnixSignalDeathPenalty(seconds, JobTimeoutException):
                    stage.act(message.body)
            except BaseException as error:  # noqa: BLE001  # an exit of a stranger's module is told, too
                return f"{stage.blame}: {stage.reason(error)}".encode()
            finally:
                lift_memory_limit()
        self._say(STAGE, number=len(self._duty.stages))
        self._limit_memory()
        self._is_ready = True
        self._before, self._environment = surroundings(), dict(os.environ)
        return None

    def _evaluate(self, message: Message) -> tuple[bytes, bytes]:
        try:
            with UnixSignalDeathPenalty(message.number, JobTimeoutException):
                return ANSWER, self._duty.evaluate(message.body)
        except Exception as error:  # noqa: BLE001  # whatever a strategy raises past its trial is told to the worker
            return FAILURE, plain_error(error).encode()

    def _restore(self) -> None:
        """A library that is loaded late may set variables: that alone is no reason for another horse."""
        if os.environ != self._environment:
            os.environ.clear()
            os.environ.update(self._environment)

    def _tell_changes(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # a stranger has closed it, or put something else there
                stream.flush()
        if found := changes(self._before, surroundings()):
            self._say(CHANGED, ", ".join(found).encode())

    def _say(self, kind: bytes, body: bytes = b"", number: int = 0) -> None:
        # A strategy may have forked and come back here twice: the second one ends, without a word.
        if os.getpid() != self._pid:
            os._exit(0)
        try:
            say(self._line, kind, body, number)
        except OSError:
            os._exit(MUTE)

    def _limit_memory(self, *, is_hard: bool = True) -> None:
        if self._duty.memory_bytes:
            limit_memory(self._duty.memory_bytes, is_hard=is_hard)


class Teller(logging.Handler):
    """Has the worker write a horse's log lines: its own standard error is a strategy's."""

    def __init__(self, say: Callable[..., None]) -> None:
        super().__init__()
        formatters = [handler.formatter for handler in logging.getLogger().handlers if handler.formatter]
        self.setFormatter(formatters[0] if formatters else TextLines())
        self._say_to_worker, self.left = say, MAX_LOGGED

    def emit(self, record: logging.LogRecord) -> None:
        """Say the line, where the order has not brought about too many already."""
        self.left -= 1
        if self.left < 0:
            return
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001  # a stranger's exception that cannot be told
            line = f"a line for the log cannot be told: {record.name}"
        self._say_to_worker(TOLD, line.encode(errors="backslashreplace")[:MAX_LINE])


def _redirect(output: int) -> None:
    """Let what a strategy writes go to the worker, and let it read nothing."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, number in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, number)
    os.close(nothing)
    if output > 2:  # the standard streams
        os.close(output)
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a test's own has no such thing
