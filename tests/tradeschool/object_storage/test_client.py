"""Requests to a real S3 server: conditions hold, passing failures are repeated, permanent ones end with one line."""

import json
import logging
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from tradeschool.errors import ServiceUnreachable, SettingsError, StorageRefused
from tradeschool.object_storage import client as module
from tradeschool.object_storage import waiting
from tradeschool.object_storage.bucket_config import BucketConfig
from tradeschool.object_storage.bucket_url import parse_bucket_url
from tradeschool.object_storage.client import ObjectChanged, ObjectClient, ObjectMissing, ObjectTooLarge
from tradeschool.object_storage.helper import HelperClient

LARGEST = 10_000_000
CONTENT = bytes(range(256)) * 4_000


@pytest.fixture
def config(s3, tmp_path: Path) -> BucketConfig:
    return s3.config(tmp_path)


@pytest.fixture
def client(config: BucketConfig, monkeypatch: pytest.MonkeyPatch) -> ObjectClient:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.05)
    return ObjectClient(config)


def test_a_created_object_is_read_and_listed(client: ObjectClient) -> None:
    version = client.create("a/b", CONTENT)

    assert client.read("a/b", LARGEST) == (CONTENT, version)
    assert [(each.key, each.size, each.version) for each in client.listing("a")] == [("a/b", len(CONTENT), version)]
    assert (client.size("a/b"), client.size("a/c")) == (len(CONTENT), None)
    assert client.listing("b") == []


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"])
def test_a_server_of_the_environment_may_have_no_tls(
    config: BucketConfig, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert config.endpoint
    monkeypatch.setenv(variable, config.endpoint)
    here = ObjectClient(replace(config, endpoint=None, url=parse_bucket_url(f"{config.url}/{variable.lower()}")))

    here.create("a", CONTENT)

    assert here.read("a", LARGEST)[0] == CONTENT


def test_of_two_writers_the_second_is_told(client: ObjectClient) -> None:
    first = client.create("a", b"one")
    with pytest.raises(ObjectChanged):
        client.create("a", b"two")
    second = client.replace("a", b"three", first)
    with pytest.raises(ObjectChanged):
        client.replace("a", b"four", first)

    assert client.read("a", LARGEST) == (b"three", second)


@pytest.mark.parametrize("fault", ["InternalError", "SlowDown", "cut"])
def test_a_passing_failure_is_repeated(client: ObjectClient, s3, tmp_path: Path, fault: str) -> None:
    client.create("a", CONTENT)
    s3.faults.coming = [fault, fault]

    assert client.download("a", tmp_path / "a", LARGEST) == sha256(CONTENT).hexdigest()
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert s3.faults.coming == []


def test_a_write_whose_answer_is_lost_has_happened(client: ObjectClient, s3) -> None:
    """The second attempt finds the object of the first; the caller compares the content."""
    s3.faults.coming, s3.faults.methods = ["lost"], ("PUT",)
    with pytest.raises(ObjectChanged):
        client.create("a", CONTENT)

    assert client.read("a", LARGEST)[0] == CONTENT


def test_retries_are_bounded(s3, config: BucketConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)
    s3.faults.always = "InternalError"
    client = ObjectClient(s3.config(tmp_path, patience_seconds=0.2))
    with pytest.raises(ServiceUnreachable, match=r"reading failed for 0\.2 s: status 500 \(InternalError\)") as caught:
        client.read("a", LARGEST)

    assert len(str(caught.value).splitlines()) == 1
    assert s3.faults.count("GET", "/a") > 1


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("ExpiredToken", "the credentials have expired"),
        ("InvalidAccessKeyId", r"access is denied \(status 403 \(InvalidAccessKeyId\)\)"),
        ("AccessDenied", "access is denied"),
    ],
)
def test_a_refusal_ends_at_once_with_one_line(client: ObjectClient, s3, code: str, said: str) -> None:
    s3.faults.always = code
    with pytest.raises(StorageRefused, match=said) as caught:
        client.read("a", LARGEST)

    assert caught.value.exit_code == 5
    assert len(str(caught.value).splitlines()) == 1
    assert "not-a-secret" not in str(caught.value)
    assert s3.faults.count("GET", "/a") == 1


def test_a_missing_bucket_is_named(s3, tmp_path: Path) -> None:
    client = ObjectClient(s3.config(tmp_path, url=parse_bucket_url("s3://no-such-bucket/x")))
    for ask in (lambda: client.read("a", 1), lambda: client.create("a", b""), lambda: client.listing("a")):
        with pytest.raises(StorageRefused, match="no bucket no-such-bucket; create it, or correct data_dir"):
            ask()


def test_a_missing_and_a_large_object_are_told_apart(client: ObjectClient) -> None:
    client.create("large", CONTENT)
    with pytest.raises(ObjectMissing):
        client.read("a", LARGEST)
    with pytest.raises(ObjectTooLarge, match=r"1,024,000 bytes, expected at most 10"):
        client.read("large", 10)


def test_a_long_wait_says_for_what(client: ObjectClient, caplog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "NOTICE_SECONDS", 0.01)
    while not caplog.records:
        client.size("a")

    assert "still checking s3://candles/" in caplog.text


def test_a_missing_library_names_the_extra(config: BucketConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "obstore.store", None)
    module._store_of.cache_clear()
    with pytest.raises(SettingsError, match=r"pip install tradeschool-curriculum\[object-storage\]"):
        ObjectClient(config)


def test_a_configuration_shows_no_secret(config: BucketConfig) -> None:
    assert "not-a-secret" not in repr(config)
    assert BucketConfig.from_json(json.loads(json.dumps(config.as_json()))) == config


def test_a_process_that_forks_reads_through_a_helper(client, config: BucketConfig, s3, tmp_path: Path) -> None:
    helper = HelperClient(config)
    version = client.create("a", CONTENT)

    assert helper.read("a", LARGEST) == (CONTENT, version)
    assert helper.download("a", tmp_path / "a", LARGEST) == sha256(CONTENT).hexdigest()
    with pytest.raises(ObjectMissing):
        helper.read("b", LARGEST)
    s3.faults.always = "ExpiredToken"
    with pytest.raises(StorageRefused, match="the credentials have expired"):
        helper.read("a", LARGEST)
    logging.getLogger(__name__).debug("the helper has ended")
