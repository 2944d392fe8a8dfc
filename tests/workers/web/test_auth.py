"""Authentication, same-origin checks and security headers."""

import re
import time
from pathlib import Path

import pytest

from tradeschool.errors import ServiceUnreachable, SettingsError
from workers.web import app
from workers.web.auth import COOKIE, MAX_FAILURES, Auth, is_loopback

TOKEN = "a-token-of-some-length"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("127.0.0.1:1", 200),
        ("localhost", 200),
        ("[::1]:80", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("", 421),
        ("localhost@evil.example", 421),
    ],
)
def test_without_a_token_only_loopback_host_names_are_served(page, host: str, answer: int) -> None:
    """A foreign host name that resolves to loopback (DNS rebinding) must not give access."""
    assert page.get("/api/runs", headers={"Host": host}).status_code == answer


@pytest.mark.parametrize(
    ("headers", "answer"),
    [
        ({}, 200),
        ({"Origin": "{url}"}, 200),
        ({"Origin": "{url}", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ],
)
def test_a_cross_site_request_requeues_nothing(page, headers: dict[str, str], answer: int) -> None:
    given = {name: value.format(url=page.url) for name, value in headers.items()}

    assert page.post("/api/failed/requeue", data="{}", headers=JSON | given).status_code == answer


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": "Bearer ä".encode()},
        {"Cookie": f"{COOKIE}={TOKEN}"},
        {"Cookie": f"{COOKIE}=9999999999.{'0' * 64}"},
        {"Cookie": f"{COOKIE}=."},
        {"Cookie": f"{COOKIE}={'9' * 400}.x"},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/api/queue", "/api/stream", "/metrics", "/api/openapi.json", "/static/app.js"])
def test_with_a_token_every_request_needs_it(locked, path: str, headers: dict[str, str]) -> None:
    assert locked.get(path, headers=headers).status_code == 401


def test_a_request_with_the_token_is_served_under_any_host_name(locked) -> None:
    for headers in (BEARER, BEARER | {"Host": "page.example"}):
        assert locked.get("/api/runs", headers=headers).status_code == 200
    assert locked.get("/metrics", headers=BEARER).status_code == 200


def test_a_token_in_the_url_is_ignored(locked) -> None:
    assert locked.get(f"/api/runs?token={TOKEN}").status_code == 401


def test_a_browser_logs_in_with_the_token_and_gets_a_session(locked) -> None:
    sent = locked.get("/")
    assert (sent.status_code, sent.headers["Location"]) == (303, "/login")
    assert locked.get("/login").status_code == 200
    done = locked.post("/login", data={"token": f" {TOKEN} "}, headers={"Origin": locked.url})

    assert (done.status_code, done.headers["Location"]) == (303, "/")
    cookie = done.headers["Set-Cookie"]
    assert TOKEN not in cookie
    for flag in ("HttpOnly", "SameSite=Strict", "Path=/", "Max-Age="):
        assert flag in cookie
    assert locked.get("/").status_code == 200
    assert locked.get("/api/runs").status_code == 200
    locked.post("/logout", headers={"Origin": locked.url})
    assert locked.get("/api/runs").status_code == 401


def test_behind_a_tls_proxy_the_cookie_is_secure(locked) -> None:
    done = locked.post("/login", data={"token": TOKEN}, headers={"X-Forwarded-Proto": "https"})

    assert "Secure" in done.headers["Set-Cookie"]


def test_repeated_wrong_tokens_block_further_attempts(locked, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(MAX_FAILURES):
        refused = locked.post("/login", data={"token": "wrong-but-long-enough"})
        assert (refused.status_code, refused.headers["Location"]) == (303, "/login?wrong")
    late = locked.post("/login", data={"token": TOKEN})

    assert (late.status_code, late.headers["Retry-After"]) == (429, "60")
    assert "wrong-but-long-enough" not in caplog.text
    assert locked.get("/api/runs", headers=BEARER).status_code == 200


def test_attempts_are_allowed_again_after_a_minute() -> None:
    now = [1_000.0]
    auth = Auth(token=TOKEN, clock=lambda: now[0])
    for _ in range(MAX_FAILURES):
        auth.note_failure()
    assert not auth.may_try()
    now[0] += 61

    assert auth.may_try()


def test_a_session_expires(context, serve) -> None:
    now = [time.time()]
    with serve(context, TOKEN, clock=lambda: now[0]) as url:
        import requests

        asking = requests.Session()
        asking.trust_env = False
        asking.post(f"{url}/login", data={"token": TOKEN}, allow_redirects=False)
        assert asking.get(f"{url}/api/runs").status_code == 200
        now[0] += 12 * 3600 + 1

        assert asking.get(f"{url}/api/runs").status_code == 401


@pytest.mark.parametrize("path", ["/", "/static/app.js", "/api/runs", "/absent", "/metrics", "/api/runs/absent"])
def test_every_response_has_security_headers(page, path: str) -> None:
    headers = page.get(path).headers

    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Server"] == "tradeschool"


def test_the_page_has_no_inline_script_and_no_external_resource(page) -> None:
    for path in ("/", "/login"):
        text = page.get(path).text

        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*src=)|https?://", text)


def test_page_scripts_never_turn_text_into_markup_or_code() -> None:
    """User-controlled names and reasons must be inserted as text, never as markup or code."""
    folder = Path(app.__file__).parent / "static"
    scripts = [*folder.glob("*.js")]
    parsing = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|javascript:"

    assert len(scripts) > 5
    assert [path.name for path in scripts if re.search(parsing, path.read_text())] == []


def test_only_static_files_of_the_page_are_served(page) -> None:
    for path in ("/static/../auth.py", "/static/%2e%2e/auth.py", "/static/", "/static/login.html", "/static/.", "//"):
        assert page.get(path).status_code == 404, path


def test_a_cached_file_is_not_sent_again(page) -> None:
    known = page.get("/static/app.js").headers["ETag"]

    again = page.get("/static/app.js", headers={"If-None-Match": known})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("host", "is_so"),
    [
        *((host, True) for host in ("127.0.0.1", "127.9.9.9", "localhost", "::1")),
        *((host, False) for host in ("0.0.0.0", "::", "10.0.0.1", "page.example", "")),
    ],
)
def test_loopback_addresses_are_recognized(host: str, is_so: bool) -> None:
    assert is_loopback(host) is is_so


async def test_without_a_token_the_server_binds_only_to_loopback(context) -> None:
    with pytest.raises(SettingsError, match="needs a token"):
        await app.serve(app.make_app(context.overview(), Auth(token=None)), "0.0.0.0", 0)


async def test_an_address_in_use_is_reported(context) -> None:
    runner = await app.serve(app.make_app(context.overview(), Auth(token=None)), "127.0.0.1", 0)
    port = runner.addresses[0][1]
    with pytest.raises(ServiceUnreachable, match=f"cannot listen on 127.0.0.1:{port}"):
        await app.serve(app.make_app(context.overview(), Auth(token=None)), "127.0.0.1", port)
    await runner.cleanup()
