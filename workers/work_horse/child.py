"""The child side of a work horse: runs the preparation steps, then evaluates one batch after another."""

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
from workers.work_horse.channel import CHANGES, FAILURE, LOG, RESULT, STEP, Message, receive, send
from workers.work_horse.process_changes import changes, process_state

FAILED_EXIT = 1
CHANNEL_CLOSED_EXIT = 4
"""Exit code of a work horse that cannot write to its channel."""
MAX_LOG_LINES = 200
"""Log lines that a batch may write."""
MAX_LINE_BYTES = 16_384
"""Limit of such a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparationStep:
    """One step before the first batch is evaluated."""

    run: Callable[[bytes], None]
    """Takes the batch."""
    failure: str
    """Start of the reason where the step fails."""
    describe: Callable[[BaseException], str] = plain_error
    """Text of an exception that the step raises."""
    timeout_seconds: int | None = None
    """Time limit where it is shorter than the batch's."""
    is_trusted: bool = False
    """Whether only the project's code runs: the memory limit then counts from the end of the step, and the step has
    `default_limit` itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkHorseTask:
    """What a work horse runs."""

    evaluate: Callable[[bytes], bytes]
    """Turns a batch into its result, both JSON."""
    close: Callable[[], None]
    """Closes the parent's connections in the child."""
    memory_bytes: int | None = None
    """Limit of memory; None is `default_limit`."""
    steps: Sequence[PreparationStep] = ()
    is_untrusted: bool = False
    """Whether it runs a user's strategy: its output goes to a pipe, and changes of the process are reported."""


def run_child(end: socket.socket, parent: int, task: WorkHorseTask, output: int | None) -> None:
    """Run the child process; never returns."""
    try:
        os.setpgrp()
        die_with_parent(parent, signal.SIGKILL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        task.close()
        if output is not None:
            _redirect(output)
        BatchLoop(end, task).serve()
    except BaseException:  # noqa: BLE001  # a child that returned would continue as a second worker
        os._exit(FAILED_EXIT)
    os._exit(0)


class BatchLoop:
    """Evaluates batches in the process that the worker has forked, and in no fork of it."""

    def __init__(self, end: socket.socket, task: WorkHorseTask) -> None:
        self._end, self._task, self._pid = end, task, os.getpid()
        self._is_ready = not task.steps
        self._log_handler = ChannelLogHandler(self._send)
        if task.is_untrusted:
            logging.getLogger().handlers = [self._log_handler]
        if self._is_ready:
            limit_memory(task.memory_bytes)
        self._before, self._environment = process_state(), dict(os.environ)

    def serve(self) -> None:
        """Evaluate batches until the worker closes the channel."""
        while message := receive(self._end):
            kind, body = self._process(message)
            self._send(kind, body)

    def _process(self, message: Message) -> tuple[bytes, bytes]:
        self._log_handler.left = MAX_LOG_LINES
        if not self._is_ready and (reason := self._prepare(message)) is not None:
            return FAILURE, reason
        if self._task.is_untrusted:
            self._restore_environment()
        end = self._evaluate(message)
        if self._task.is_untrusted:
            self._report_changes()
        return end

    def _prepare(self, message: Message) -> bytes | None:
        """Run the preparation steps; the reason where one fails, else None."""
        for place, step in enumerate(self._task.steps):
            self._send(STEP, number=place)
            seconds = min(message.number, step.timeout_seconds or message.number)
            limit_memory(None if step.is_trusted else self._task.memory_bytes, is_hard=False)
            try:
                with UnixSignalDeathPenalty(seconds, JobTimeoutException):
                    step.run(message.body)
            except BaseException as error:  # noqa: BLE001  # a user's module may raise SystemExit, too
                lift_memory_limit()  # the strategy may have left no byte for the text
                return f"{step.failure}: {step.describe(error)}".encode()
            lift_memory_limit()
        self._send(STEP, number=len(self._task.steps))
        limit_memory(self._task.memory_bytes)
        self._is_ready = True
        self._before, self._environment = process_state(), dict(os.environ)
        return None

    def _evaluate(self, message: Message) -> tuple[bytes, bytes]:
        try:
            with UnixSignalDeathPenalty(message.number, JobTimeoutException):
                return RESULT, self._task.evaluate(message.body)
        except Exception as error:  # noqa: BLE001  # any error outside a trial is the batch's failure
            return FAILURE, plain_error(error).encode()

    def _restore_environment(self) -> None:
        """Reset the environment variables: a library that loads late may set some, which is no reason for a restart."""
        if os.environ != self._environment:
            os.environ.clear()
            os.environ.update(self._environment)

    def _report_changes(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # a strategy may have closed or replaced it
                stream.flush()
        if found := changes(self._before, process_state()):
            self._send(CHANGES, ", ".join(found).encode())

    def _send(self, kind: bytes, body: bytes = b"", number: int = 0) -> None:
        # A strategy may have forked: the second process that arrives here ends without a message.
        if os.getpid() != self._pid:
            os._exit(0)
        try:
            send(self._end, kind, body, number)
        except OSError:
            os._exit(CHANNEL_CLOSED_EXIT)


class ChannelLogHandler(logging.Handler):
    """Sends log lines to the worker: the work horse's own standard error belongs to the strategy."""

    def __init__(self, send: Callable[..., None]) -> None:
        super().__init__()
        formatters = [handler.formatter for handler in logging.getLogger().handlers if handler.formatter]
        self.setFormatter(formatters[0] if formatters else TextLines())
        self._send, self.left = send, MAX_LOG_LINES

    def emit(self, record: logging.LogRecord) -> None:
        """Send the line, up to `MAX_LOG_LINES` per batch."""
        self.left -= 1
        if self.left < 0:
            return
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001  # an exception of a strategy may fail to format
            line = f"log line could not be formatted: {record.name}"
        self._send(LOG, line.encode(errors="backslashreplace")[:MAX_LINE_BYTES])


def _redirect(output: int) -> None:
    """Lead standard output and error to the worker's pipe, and standard input to an empty file."""
    empty = os.open(os.devnull, os.O_RDONLY)
    for source, number in ((empty, 0), (output, 1), (output, 2)):
        os.dup2(source, number)
    os.close(empty)
    if output > 2:  # the standard streams
        os.close(output)
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a stream that a test has replaced lacks it
