"""Notification channels and events from the settings."""

import pytest
from pydantic import SecretStr

from tradeschool.app.notifications import channels_of, events_of
from tradeschool.errors import SettingsError
from tradeschool.notify import Mail, Slack, Webhook
from tradeschool.settings.sections import NotifySettings

MAIL = {"smtp_url": SecretStr("smtp://me:s3cret@mail.example"), "mail_from": "a@b.example"}


def test_every_url_becomes_a_channel() -> None:
    settings = NotifySettings(
        webhook_url=SecretStr("https://x.example/s3cret"),
        slack_url=SecretStr("https://y.example/s3cret"),
        mail_to="c@d.example, e@f.example",
        **MAIL,
    )
    webhook, slack, mail = channels_of(settings)

    assert isinstance(webhook, Webhook)
    assert isinstance(slack, Slack)
    assert isinstance(mail, Mail)
    assert mail.receivers == ("c@d.example", "e@f.example")
    assert [each.name for each in (webhook, slack, mail)] == [
        "webhook x.example",
        "slack y.example",
        "mail mail.example",
    ]
    assert "s3cret" not in repr((webhook, slack, mail, settings))


def test_without_a_url_no_notification_is_sent() -> None:
    assert channels_of(NotifySettings()) == []
    assert not NotifySettings().is_set


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"webhook_url": SecretStr("s3cret")}, "notify.webhook_url: expected an http"),
        ({"slack_url": SecretStr("ftp://s3cret")}, "notify.slack_url: expected an http"),
        (MAIL, "notify.smtp_url needs notify.mail_from and notify.mail_to"),
        (MAIL | {"mail_to": " , "}, "notify.smtp_url needs notify.mail_from and notify.mail_to"),
        (
            MAIL | {"smtp_url": SecretStr("http://s3cret"), "mail_to": "c@d.example"},
            "notify.smtp_url: expected smtp",
        ),
    ],
)
def test_an_invalid_url_is_reported_without_being_shown(given: dict, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as told:
        channels_of(NotifySettings(**given))

    assert "s3cret" not in str(told.value)


def test_events_are_selected_by_name() -> None:
    assert events_of(NotifySettings(events="level_passed, run_finished")) == {"level_passed", "run_finished"}
    with pytest.raises(SettingsError, match="unknown event 'level_pased'"):
        events_of(NotifySettings(events="level_pased"))
