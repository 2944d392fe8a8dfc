"""Commands on candles in a bucket: the same output as on a folder, and one line for each error."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.factories.buckets import S3, s3_server
from tests.factories.candle_files import table, times, unix, written
from tradeschool.settings.loading import load

Command = Callable[..., tuple[int, str, str]]
HEADER = "ts,open,high,low,close,volume"
KEY = "0123456789abcdef"
PUBLISH = ("strategy", "publish", "mine:STRATEGY")


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with s3_server() as made:
        yield made


@pytest.fixture
def s3(server: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[S3]:
    """The server as `data_dir`, with a prefix of its own and two files to import."""
    config = server.config(tmp_path)
    monkeypatch.setenv("TRADESCHOOL_DATA_DIR", str(config.url))
    given = {"ENDPOINT": server.url, "REGION": "us-east-1", "ACCESS_KEY_ID": "key", "REFRESH_SECONDS": "0"}
    for name, value in (given | {"SECRET_ACCESS_KEY": "not-a-secret", "PATIENCE_SECONDS": "0.1"}).items():
        monkeypatch.setenv(f"TRADESCHOOL_OBJECT_STORAGE__{name}", value)
    written(tmp_path / "candles.csv", [HEADER, *table(times(24), unix())])
    (tmp_path / "mine.py").write_text("STRATEGY = 1\n")
    yield server
    server.faults.coming, server.faults.always, server.faults.methods = [], "", ("GET", "PUT", "HEAD")


def imported(command: Command) -> None:
    code, _, told = command("data", "import", "candles.csv", "--dataset", "coinbase/BTC-USD/M5")
    assert code == 0, told


def test_an_import_is_seen_by_another_machine(command: Command, s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    imported(command)
    monkeypatch.setenv("TRADESCHOOL_STATE_DIR", "another-machine")
    code, out, _ = command("data", "status", "--json")
    verified = command("data", "verify")

    assert code == 0
    assert [(row["dataset"], row["rows"]) for row in json.loads(out)] == [("coinbase/BTC-USD/M5", 24)]
    assert verified[:2] == (0, "coinbase/BTC-USD/M5: 1 files match their digests\n")


def test_verify_counts_objects_that_no_seal_lists(command: Command, s3: S3) -> None:
    imported(command)
    place = load().data_dir
    s3.put(f"{place.prefix}/objects/{'0' * 64}.parquet", b"x" * 200_000)

    assert "1 objects (0.2 MB) in s3://candles/" in command("data", "verify")[1]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("ExpiredToken", "the credentials have expired"),
        ("InvalidAccessKeyId", "access is denied"),
        ("InternalError", "listing failed for 0.1 s: status 500 (InternalError)"),
    ],
)
def test_an_error_of_the_bucket_is_one_line(command: Command, s3: S3, code: str, said: str) -> None:
    s3.faults.always = code
    ended, out, told = command("data", "status")

    assert (ended, out) == (5, "")
    assert said in told
    assert "not-a-secret" not in told
    assert len(told.splitlines()) == 1


def test_a_missing_bucket_is_one_line(command: Command, s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADESCHOOL_DATA_DIR", "s3://no-such-bucket/x")
    code, _, told = command("data", "status")

    assert (code, told.count("\n")) == (5, 1)
    assert "no bucket no-such-bucket; create it, or correct data_dir" in told


def test_an_invalid_url_is_a_settings_error(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADESCHOOL_DATA_DIR", "s3://key:secret@candles/x")
    code, _, told = command("data", "status")

    assert code == 2
    assert "credentials belong in the environment" in told


def test_the_settings_show_the_url_and_no_secret(command: Command, s3: S3) -> None:
    shown = json.loads(command("config", "show", "--json")[1])

    assert shown["data_dir"].startswith("s3://candles/")
    assert shown["object_storage.secret_access_key"] == "***"


def test_a_module_is_published_once(command: Command, s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADESCHOOL_WORK__SIGNING_KEY", KEY)
    first, second = (json.loads(command(*PUBLISH, "--json")[1]) for _ in range(2))

    assert (first["module"], first["bytes"], first["new"], second["new"]) == ("mine", 13, True, False)
    assert list(s3.objects(load().data_dir.prefix)) == [f"strategies/{first['sha256']}.json"]


def test_publishing_needs_a_key_and_a_bucket(command: Command, s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    assert command(*PUBLISH)[0] == 2
    monkeypatch.setenv("TRADESCHOOL_WORK__SIGNING_KEY", KEY)
    monkeypatch.delenv("TRADESCHOOL_DATA_DIR")
    code, _, told = command(*PUBLISH)

    assert code == 2
    assert "expected a bucket such as s3://bucket/prefix" in told
