"""Background delivery of notifications: one thread per channel, with retries and a bounded queue."""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence

from tradeschool.notify.channels import Channel, DeliveryFailed
from tradeschool.notify.notification import Notification

ATTEMPTS = 6
FIRST_PAUSE_SECONDS = 1.0
"""Delay before the second attempt; it doubles with each further attempt: half a minute in total."""
MAX_WAITING = 200
"""Maximum number of queued messages per channel; beyond it the oldest message is dropped."""

log = logging.getLogger(__name__)


class Notifier:
    """Sends messages to several channels without blocking the caller."""

    def __init__(self, channels: Sequence[Channel], *, first_pause_seconds: float = FIRST_PAUSE_SECONDS) -> None:
        self._lines = [_ChannelQueue(channel, first_pause_seconds) for channel in channels]

    def notify(self, message: Notification) -> None:
        """Queue a message for every channel."""
        for line in self._lines:
            line.put(message)

    def close(self, seconds: float = 5.0) -> None:
        """Wait up to `seconds` in total for queued messages; the rest is dropped with a warning in the log."""
        end = time.monotonic() + seconds
        for line in self._lines:
            line.finish()
        for line in self._lines:
            line.join(max(0.0, end - time.monotonic()))


class _ChannelQueue:
    """One channel with its queue and its thread; the first message starts the thread."""

    def __init__(self, channel: Channel, first_pause_seconds: float) -> None:
        self._channel, self._first_pause = channel, first_pause_seconds
        self._waiting: deque[Notification] = deque()
        self._changed = threading.Condition()
        self._finishing = False
        self._given_up = threading.Event()
        # A daemon thread, so that an unresponsive server cannot keep the process alive.
        self._thread = threading.Thread(target=self._run, name=f"notify {channel.name}", daemon=True)

    def put(self, message: Notification) -> None:
        with self._changed:
            if len(self._waiting) >= MAX_WAITING:
                lost = self._waiting.popleft()
                log.warning("Notification dropped", extra=self._extra("notification_dropped", lost, "queue is full"))
            self._waiting.append(message)
            self._changed.notify()
            if not self._thread.is_alive() and not self._finishing:
                self._thread.start()

    def finish(self) -> None:
        with self._changed:
            self._finishing = True
            self._changed.notify()

    def join(self, seconds: float) -> None:
        if not self._thread.is_alive():
            return
        self._thread.join(seconds)
        self._given_up.set()
        for message in list(self._waiting):
            log.warning("Notification dropped", extra=self._extra("notification_dropped", message, "process exits"))

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._finishing:
                    self._changed.wait()
                if not self._waiting:
                    return
                message = self._waiting[0]
            self._deliver(message)
            with self._changed:
                if self._waiting and self._waiting[0] is message:
                    self._waiting.popleft()

    def _deliver(self, message: Notification) -> None:
        pause, reason = self._first_pause, ""
        for attempt in range(1, ATTEMPTS + 1):
            if self._given_up.is_set():
                return
            try:
                self._channel.send(message)
            except DeliveryFailed as error:
                reason = str(error)
                if error.is_final or attempt == ATTEMPTS:
                    break
            except Exception as error:  # noqa: BLE001  # this thread must survive any error of a single message
                # Only the class is logged, because text and traceback may contain a secret URL.
                log.warning("Channel failed", extra=self._extra("channel_failed", message, type(error).__name__))
                return
            else:
                log.info("Notification sent", extra=self._extra("notification_sent", message, ""))
                return
            self._given_up.wait(pause)
            pause *= 2
        log.warning("Notification dropped", extra=self._extra("notification_dropped", message, reason))

    def _extra(self, action: str, message: Notification, reason: str) -> dict[str, str]:
        return {"action": action, "channel": self._channel.name, "event": message.event, "reason": reason}
