"""Delivery of notifications to real servers: failures do not block and reveal no secret."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope

from tradeschool.errors import SettingsError
from tradeschool.notify import Mail, Notification, Notifier, Slack, Webhook, channels
from tradeschool.notify import notifier as notifying
from tradeschool.notify.channels import DeliveryFailed, check_hook, check_mail

MESSAGE = Notification(
    event="level_passed",
    kind="good",
    title="level 1: the gate is met",
    time=datetime(2026, 1, 1, tzinfo=UTC),
    lines=("sharpe 0.9 <of> 0.8 & more",),
    facts={"level": "1", "attempt": 2},
)
SECRET = "s3cret-path"


@dataclass
class Hook:
    """A server that records requests and returns a configured response."""

    answers: list[int] = field(default_factory=list)
    got: list[dict] = field(default_factory=list)
    holds: threading.Event | None = None
    """Until which it answers nothing."""
    asked: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    url: str = ""


@contextmanager
def serving(hook: Hook) -> Iterator[Hook]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hook.asked.release()
            if hook.holds is not None:
                hook.holds.wait(60)
            hook.got.append({"path": self.path, "type": self.headers["Content-Type"], "body": json.loads(body)})
            self.send_response(hook.answers.pop(0) if hook.answers else 200)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    hook.url = f"http://127.0.0.1:{server.server_port}/{SECRET}"
    try:
        yield hook
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise time-outs, so that a slow machine does not make a running server look unreachable."""
    monkeypatch.setattr(channels, "RESPONSE_SECONDS", 60.0)


@pytest.fixture
def hook() -> Iterator[Hook]:
    with serving(Hook()) as served:
        yield served


class Box:
    """A mail server that stores messages."""

    def __init__(self) -> None:
        self.mails: list[Envelope] = []
        self.answers: list[str] = []

    async def handle_DATA(self, server: object, session: object, envelope: Envelope) -> str:
        if self.answers:
            return self.answers.pop(0)
        self.mails.append(envelope)
        return "250 taken"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@pytest.fixture
def box() -> Iterator[tuple[Box, str]]:
    made = Box()
    controller = Controller(made, hostname="127.0.0.1", port=free_port())
    controller.start()
    yield made, f"smtp://127.0.0.1:{controller.port}"
    controller.stop()


def eventually(is_so: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_webhook_receives_the_message_as_json(hook: Hook) -> None:
    Webhook(hook.url).send(MESSAGE)

    (got,) = hook.got
    assert got["path"] == f"/{SECRET}"
    assert got["type"] == "application/json"
    assert got["body"] == {
        "source": "tradeschool",
        "event": "level_passed",
        "kind": "good",
        "title": "level 1: the gate is met",
        "text": "sharpe 0.9 <of> 0.8 & more",
        "time": "2026-01-01T00:00:00+00:00",
        "facts": {"level": "1", "attempt": 2},
    }


def test_slack_text_is_escaped(hook: Hook) -> None:
    Slack(hook.url).send(MESSAGE)

    assert hook.got[0]["body"] == {"text": "✅ level 1: the gate is met\nsharpe 0.9 &lt;of&gt; 0.8 &amp; more"}


def test_a_mail_is_delivered(box: tuple[Box, str]) -> None:
    there, url = box
    Mail(url, "from@here.example", ("one@there.example", "two@there.example")).send(MESSAGE)

    (envelope,) = there.mails
    assert envelope.mail_from == "from@here.example"
    assert envelope.rcpt_tos == ["one@there.example", "two@there.example"]
    mail = message_from_bytes(envelope.original_content, policy=policy.default)
    assert mail["Subject"] == "tradeschool: level 1: the gate is met"
    assert mail["To"] == "one@there.example, two@there.example"
    assert "sharpe 0.9 <of> 0.8 & more" in mail.get_content()


def test_a_multiline_title_adds_no_mail_header(box: tuple[Box, str]) -> None:
    there, url = box
    forged = Notification(event="x", kind="info", title="a\r\nBcc: all@there.example\n\nb", time=MESSAGE.time)
    Mail(url, "from@here.example", ("one@there.example",)).send(forged)

    mail = message_from_bytes(there.mails[0].original_content, policy=policy.default)
    assert mail["Bcc"] is None
    assert mail["Subject"] == "tradeschool: a Bcc: all@there.example b"


def test_a_password_is_not_sent_unencrypted(box: tuple[Box, str]) -> None:
    there, url = box
    with pytest.raises(DeliveryFailed, match="does not offer STARTTLS") as told:
        Mail(url.replace("//", "//me:s3cret@"), "a@b.example", ("c@d.example",)).send(MESSAGE)

    assert told.value.is_final
    assert there.mails == []
    assert "s3cret" not in str(told.value)


@pytest.mark.parametrize(("answer", "is_final"), [("451 later", False), ("550 never", True)])
def test_only_temporary_mail_refusals_are_retried(box: tuple[Box, str], answer: str, is_final: bool) -> None:
    there, url = box
    there.answers.append(answer)
    with pytest.raises(DeliveryFailed) as told:
        Mail(url, "a@b.example", ("c@d.example",)).send(MESSAGE)

    assert told.value.is_final is is_final


@pytest.mark.parametrize(
    ("answer", "is_final"), [(500, False), (503, False), (429, False), (404, True), (403, True), (302, True)]
)
def test_only_temporary_webhook_refusals_are_retried(hook: Hook, answer: int, is_final: bool) -> None:
    hook.answers.append(answer)
    with pytest.raises(DeliveryFailed, match=str(answer)) as told:
        Webhook(hook.url).send(MESSAGE)

    assert told.value.is_final is is_final
    assert len(hook.got) == 1, "a redirect was followed"


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/s3cret-path", "http://s3cret-path\x01.example/", "http://[s3cret"])
def test_messages_show_only_the_host_of_a_url(url: str, caplog: pytest.LogCaptureFixture) -> None:
    try:
        channel = Webhook(check_hook("notify.webhook_url", url))
    except (SettingsError, ValueError) as error:
        assert "s3cret" not in str(error)
        return
    notifier = Notifier([channel], first_pause_seconds=0.001)
    notifier.notify(MESSAGE)
    notifier.close(60)

    assert "notification_dropped" in [record.action for record in caplog.records]
    assert "s3cret-path/" not in repr(channel)
    assert "/s3cret-path" not in caplog.text + repr(channel) + "".join(str(vars(each)) for each in caplog.records)


def test_failed_messages_are_retried_in_order(hook: Hook) -> None:
    hook.answers += [500, 503, 200]
    notifier = Notifier([Webhook(hook.url)], first_pause_seconds=0.01)
    notifier.notify(MESSAGE)
    notifier.notify(Notification(event="second", kind="info", title="t", time=MESSAGE.time))
    notifier.close(60)

    assert [got["body"]["event"] for got in hook.got] == ["level_passed"] * 3 + ["second"]


def test_a_hanging_server_blocks_no_caller(hook: Hook) -> None:
    with serving(Hook()) as other:
        hook.holds = threading.Event()
        notifier = Notifier([Webhook(hook.url), Webhook(other.url)])
        for _ in range(50):
            notifier.notify(MESSAGE)
        eventually(lambda: len(other.got) == 50)
        notifier.close(0.1)

        assert hook.asked.acquire(timeout=60)
        assert hook.got == [], "what was told and closed meanwhile has not waited for it"
        hook.holds.set()


def test_a_full_queue_drops_the_oldest_message(
    hook: Hook, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifying, "MAX_WAITING", 3)
    hook.holds = threading.Event()
    notifier = Notifier([Webhook(hook.url)])
    for number in range(6):
        notifier.notify(Notification(event=f"e{number}", kind="info", title="t", time=MESSAGE.time))
        assert number or hook.asked.acquire(timeout=60), "the first is under way before the others come"
    hook.holds.set()
    notifier.close(60)

    assert [got["body"]["event"] for got in hook.got] == ["e0", "e3", "e4", "e5"]
    assert "queue is full" in [record.reason for record in caplog.records]


def test_a_channel_survives_an_error(caplog: pytest.LogCaptureFixture, hook: Hook) -> None:
    class Broken:
        name = "broken"
        sent = 0

        def send(self, message: Notification) -> None:
            self.sent += 1
            raise RuntimeError(SECRET)

    broken = Broken()
    notifier = Notifier([broken])
    notifier.notify(MESSAGE)
    notifier.notify(MESSAGE)
    notifier.close(60)

    assert broken.sent == 2
    assert SECRET not in caplog.text


def test_a_notifier_without_channels_sends_nothing() -> None:
    notifier = Notifier([])
    notifier.notify(MESSAGE)
    notifier.close(60)


@pytest.mark.parametrize("url", ["ftp://x.example/s3cret", "s3cret", "http:///s3cret", ""])
def test_an_invalid_address_is_reported_without_being_shown(url: str) -> None:
    for check in (lambda: check_hook("notify.slack_url", url), lambda: check_mail(url)):
        with pytest.raises(SettingsError) as told:
            check()

        assert "s3cret" not in str(told.value)


def test_a_mail_server_gets_encryption_and_login(tmp_path) -> None:
    """With an unknown certificate, neither password nor mail is sent."""
    import ssl
    import subprocess

    key = tmp_path / "key.pem"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", key, "-subj", "/CN=x"],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("no openssl here to make a certificate with")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(key)
    seen: list[object] = []

    def authenticate(*given: object) -> AuthResult:
        seen.append(given)
        return AuthResult(success=True)

    box = Box()
    controller = Controller(
        box,
        hostname="127.0.0.1",
        port=free_port(),
        tls_context=context,
        authenticator=authenticate,
        require_starttls=True,
    )
    controller.start()
    with pytest.raises(DeliveryFailed, match="SSLCertVerificationError"):
        Mail(f"smtp://me:s3cret@127.0.0.1:{controller.port}", "a@b.example", ("c@d.example",)).send(MESSAGE)
    controller.stop()

    assert (seen, box.mails) == ([], [])
