"""Notification thread of a command: checks the state every few seconds and sends notifications of new events."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tradeschool.app.monitoring import sources_of
from tradeschool.errors import SettingsError
from tradeschool.notify import Mail, NotificationChannel, Notifier, Slack, Webhook
from tradeschool.notify.channels import check_hook, check_mail
from tradeschool.settings.model import Settings
from tradeschool.settings.sections import NotifySettings
from workers.coordinator.event_log import SENTENCES
from workers.monitoring.notifications import NotificationMonitor, notification_lock
from workers.monitoring.overview import Overview

LOOK_SECONDS = 5.0
"""Seconds between two checks."""
CLOSE_SECONDS = 5.0
"""Longest delay of a command's end by notifications that are still to be sent."""

log = logging.getLogger(__name__)


@contextmanager
def notifications(settings: Settings) -> Iterator[None]:
    """Send notifications until the block ends, and once more at its end.

    Of all processes of an installation, one at a time sends notifications.

    Raises:
        SettingsError: If an address or an event name is invalid.
    """
    notifier = Notifier(channels_of(settings.notify))
    wanted, over = events_of(settings.notify), threading.Event()

    def run() -> None:
        overview = Overview(sources_of(settings), is_quiet=True)
        notifications = NotificationMonitor(
            overview=overview,
            tell=notifier.notify,
            folder=settings.state_dir,
            wanted=wanted,
            digest_seconds=settings.notify.digest_minutes * 60,
        )
        try:
            with notification_lock(settings.state_dir) as is_ours:
                _monitor(notifications, is_ours, over)
        except OSError as error:
            log.warning("notifications are off", extra={"action": "notifications_failed", "reason": str(error)})
        finally:
            overview.close()

    thread = threading.Thread(target=run, name="notifications", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(CLOSE_SECONDS)
        notifier.close(CLOSE_SECONDS)


def channels_of(notify: NotifySettings) -> list[NotificationChannel]:
    """Return the configured notification channels.

    Raises:
        SettingsError: If an address is invalid; the message does not contain the address.
    """
    channels: list[NotificationChannel] = []
    if notify.webhook_url:
        channels.append(Webhook(check_hook("notify.webhook_url", notify.webhook_url.get_secret_value())))
    if notify.slack_url:
        channels.append(Slack(check_hook("notify.slack_url", notify.slack_url.get_secret_value())))
    if notify.smtp_url:
        receivers = _words(notify.mail_to or "")
        if not notify.mail_from or not receivers:
            raise SettingsError("notify.smtp_url needs notify.mail_from and notify.mail_to; set both")
        channels.append(Mail(check_mail(notify.smtp_url.get_secret_value()), notify.mail_from, receivers))
    return channels


def events_of(notify: NotifySettings) -> frozenset[str]:
    """Return the names of the events to notify about.

    Raises:
        SettingsError: If an event name is unknown.
    """
    names = _words(notify.events)
    for name in names:
        if name not in SENTENCES:
            raise SettingsError(
                f"notify.events: unknown event {name!r}; expected some of {', '.join(sorted(SENTENCES))}"
            )
    return frozenset(names)


def _monitor(notifications: NotificationMonitor, is_ours: Callable[[], bool], over: threading.Event) -> None:
    is_begun = False
    while True:
        is_last = over.wait(LOOK_SECONDS if is_begun else 0.0)
        if is_ours():
            if not is_begun:
                notifications.begin()
            is_begun = True
            _look(notifications)
        elif over.wait(LOOK_SECONDS):
            return
        if is_last:
            return


def _look(notifications: NotificationMonitor) -> None:
    try:
        notifications.look()
    except Exception:  # outermost loop of the thread: a failed check must not end it
        log.exception("notification check failed", extra={"action": "notifications_failed"})


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())
