"""Notification channels: JSON webhook, Slack webhook and mail.

A webhook URL is a secret as a whole, because it grants the right to post; only its host appears in logs and errors.
"""

import json
import smtplib
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.client import HTTPException
from typing import Any, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import JsonValue

from tradeschool.errors import SettingsError
from tradeschool.notify.notification import Notification

RESPONSE_SECONDS = 10.0
REFUSALS = frozenset({400, 401, 403, 404, 405, 410, 413, 422})
"""HTTP statuses that are not retried."""
MAX_TEXT = 3_000
"""Maximum number of characters of a Slack message."""


class DeliveryFailed(Exception):
    """A message could not be delivered; internal to this package."""

    def __init__(self, reason: str, *, is_final: bool = False) -> None:
        super().__init__(reason)
        self.is_final = is_final
        """Whether a retry would fail in the same way."""


class Channel(Protocol):
    """A notification channel."""

    @property
    def name(self) -> str:
        """Name for the log; contains no secret."""

    def send(self, message: Notification) -> None:
        """Deliver a message.

        Raises:
            NotTold: if the message could not be delivered.
        """


@dataclass(frozen=True, slots=True)
class Webhook:
    """A URL that receives each message as JSON."""

    url: str = field(repr=False)

    @property
    def name(self) -> str:
        """Kind and host of the channel."""
        return f"webhook {urlsplit(self.url).hostname}"

    def send(self, message: Notification) -> None:
        """POST the message as JSON."""
        _post(self.url, message.to_json())


@dataclass(frozen=True, slots=True)
class Slack:
    """An incoming webhook of Slack or a compatible service: Mattermost, Rocket.Chat, or Discord with /slack."""

    url: str = field(repr=False)

    @property
    def name(self) -> str:
        """Kind and host of the channel."""
        return f"slack {urlsplit(self.url).hostname}"

    def send(self, message: Notification) -> None:
        """POST the text of the message."""
        text = message.text[:MAX_TEXT]
        for sign, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):  # Slack's control characters
            text = text.replace(sign, entity)
        _post(self.url, {"text": text})


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail server: `smtp://user:password@host:587` (a password requires STARTTLS) or `smtps://host:465`."""

    url: str = field(repr=False)
    sender: str
    receivers: tuple[str, ...]

    @property
    def name(self) -> str:
        """Kind and host of the channel."""
        return f"mail {urlsplit(self.url).hostname}"

    def send(self, message: Notification) -> None:
        """Send the message by SMTP."""
        try:
            with _connected(urlsplit(self.url)) as server:
                server.send_message(self._mail(message), self.sender, list(self.receivers))
        except smtplib.SMTPResponseException as error:
            raise DeliveryFailed(f"status {error.smtp_code}", is_final=500 <= error.smtp_code < 600) from error
        except smtplib.SMTPRecipientsRefused as error:
            raise DeliveryFailed("all recipients were refused", is_final=True) from error
        except (OSError, smtplib.SMTPException) as error:
            raise DeliveryFailed(type(error).__name__) from error

    def _mail(self, message: Notification) -> EmailMessage:
        mail = EmailMessage()
        mail["Subject"] = " ".join(f"tradeschool: {message.title}".split())[:200]
        mail["From"], mail["To"] = self.sender, ", ".join(self.receivers)
        mail["Date"] = message.time
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(f"{message.text}\n")
        return mail


def check_hook(setting: str, url: str) -> str:
    """Return a webhook URL after checking it.

    Raises:
        SettingsError: if it is not an HTTP URL; the message does not contain the value.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise SettingsError(f"{setting}: expected an http:// or https:// URL (the value is secret and not shown)")
    return url


def check_mail(url: str) -> str:
    """Return the URL of a mail server after checking it.

    Raises:
        SettingsError: if it is not an SMTP URL; the message does not contain the value.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
        raise SettingsError(
            "notify.smtp_url: expected smtp://host:587 or smtps://host:465 (the value is secret and not shown)"
        )
    return url


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Rejects redirects, so that a message is only sent to the configured host."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _post(url: str, value: Mapping[str, JsonValue]) -> None:
    body = json.dumps(value, allow_nan=False).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "tradeschool"}
    asked = urllib.request.Request(url, data=body, headers=headers, method="POST")  # noqa: S310  # see check_hook
    try:
        with urllib.request.build_opener(_NoRedirect).open(asked, timeout=RESPONSE_SECONDS) as answer:
            answer.read(1024)
    except urllib.error.HTTPError as error:
        error.close()
        is_final = error.code in REFUSALS or 300 <= error.code < 400
        raise DeliveryFailed(f"status {error.code}", is_final=is_final) from None
    except (OSError, ValueError, HTTPException) as error:  # error texts may contain the secret URL
        reason = getattr(error, "reason", None)
        raise DeliveryFailed(type(reason).__name__ if isinstance(reason, Exception) else type(error).__name__) from None


def _connected(url: SplitResult) -> smtplib.SMTP:
    context = ssl.create_default_context()
    host = url.hostname or ""
    if url.scheme == "smtps":
        server: smtplib.SMTP = smtplib.SMTP_SSL(host, url.port or 465, timeout=RESPONSE_SECONDS, context=context)
    else:
        server = smtplib.SMTP(host, url.port or 587, timeout=RESPONSE_SECONDS)
    try:
        _log_in(server, url, context)
    except BaseException:
        server.close()
        raise
    return server


def _log_in(server: smtplib.SMTP, url: SplitResult, context: ssl.SSLContext) -> None:
    server.ehlo()
    is_private = url.scheme == "smtps"
    if not is_private and server.has_extn("starttls"):
        server.starttls(context=context)
        server.ehlo()
        is_private = True
    if url.username and url.password:
        if not is_private:
            raise DeliveryFailed("the server does not offer STARTTLS, so the password is not sent", is_final=True)
        server.login(unquote(url.username), unquote(url.password))
