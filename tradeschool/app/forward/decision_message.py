"""Tells the decision of a forward test: an event of its run, and a notification; at least once, also after a kill."""

from optimizer.forward.day_log import ForwardAction
from optimizer.forward.forward_test import ForwardTest
from tradeschool.app.notifications import CLOSE_SECONDS, channels_of, events_of
from tradeschool.atomic_files import publish_text
from tradeschool.notify import Notification, Notifier
from tradeschool.settings.model import Settings
from workers.coordinator import event_log

EVENT = "forward_decided"
TOLD_NAME = "told.json"
KINDS = {ForwardAction.DEPLOY: "good", ForwardAction.STOP: "bad"}


def tell_decision(settings: Settings, test: ForwardTest) -> None:
    """Record and send the decision unless that was done.

    Raises:
        SettingsError: An address or an event name of the settings is invalid.
    """
    last, rule = test.last, test.rule
    told = test.folder / TOLD_NAME
    if last is None or told.exists():
        return
    run = test.folder.parents[1]
    facts = {"run": rule.run, "name": rule.name, "day": last.day.isoformat(), "action": last.action.value}
    event_log.record(run, EVENT, **facts, reason=last.reason)
    if settings.notify.is_set and EVENT in events_of(settings.notify):
        notifier = Notifier(channels_of(settings.notify))
        notifier.notify(
            Notification(
                event=EVENT,
                kind=KINDS.get(last.action, "info"),
                title=f"forward test {rule.name} of {rule.run}: {last.action.value}: {last.reason}",
                time=last.recorded,
                facts={**facts, "reason": last.reason, "equity": last.equity, "e_value": last.e_value},
            )
        )
        notifier.close(CLOSE_SECONDS)
    publish_text(test.folder.parents[2], told, f'{{"day":"{last.day}","action":"{last.action.value}"}}\n')
