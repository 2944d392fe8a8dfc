"""Google Cloud Storage and Azure Blob Storage: paths, credentials and conditional writes, on servers of their APIs."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.factories.other_buckets import ACCOUNT, ACCOUNT_KEY, BUCKET, TOKEN, Bucket, bucket_server
from tradeschool.errors import SettingsError, StorageRefused
from tradeschool.object_storage import client as module
from tradeschool.object_storage.bucket_config import BucketConfig
from tradeschool.object_storage.bucket_url import parse_bucket_url
from tradeschool.object_storage.client import ObjectChanged, ObjectClient, ObjectMissing

LARGEST = 10_000_000
CREDENTIALS = {
    "gs": {"GOOGLE_BEARER_TOKEN": TOKEN},
    "az": {"AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT, "AZURE_STORAGE_ACCOUNT_KEY": ACCOUNT_KEY},
}
ENDPOINT = {"gs": "GOOGLE_BASE_URL", "az": "AZURE_STORAGE_ENDPOINT"}


@pytest.fixture(params=["gs", "az"])
def bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    pytest.importorskip("obstore", reason="no obstore: install tradeschool-curriculum[object-storage]")
    for name, value in CREDENTIALS[request.param].items():
        monkeypatch.setenv(name, value)
    module._store_of.cache_clear()
    with bucket_server(request.param) as made:
        yield made
    module._store_of.cache_clear()


@pytest.fixture
def config(bucket: Bucket, tmp_path: Path) -> BucketConfig:
    return BucketConfig(
        url=parse_bucket_url(f"{bucket.scheme}://{BUCKET}/team/prices"),
        cache_dir=tmp_path / "cache",
        cache_bytes=100_000_000,
        endpoint=bucket.url,
        refresh_seconds=0.0,
    )


@pytest.fixture
def client(config: BucketConfig) -> ObjectClient:
    return ObjectClient(config)


def test_objects_are_written_below_the_prefix(client: ObjectClient, bucket: Bucket) -> None:
    version = client.create("a/b", b"one")

    assert list(bucket.objects) == ["team/prices/a/b"]
    assert client.read("a/b", LARGEST) == (b"one", version)
    assert [(each.key, each.size, each.version) for each in client.listing("a")] == [("a/b", 3, version)]
    assert (client.size("a/b"), client.size("a/c"), client.listing("b")) == (3, None, [])
    with pytest.raises(ObjectMissing):
        client.read("a/c", LARGEST)


def test_of_two_writers_the_second_is_told(client: ObjectClient, bucket: Bucket) -> None:
    first = client.create("a", b"one")
    with pytest.raises(ObjectChanged):
        client.create("a", b"two")
    second = client.replace("a", b"three", first)
    for version in (first, '"another"'):
        with pytest.raises(ObjectChanged):
            client.replace("a", b"four", version)
    with pytest.raises(ObjectChanged):
        client.replace("gone", b"four", first)

    assert client.read("a", LARGEST) == (b"three", second)


def test_a_server_may_be_named_by_the_environment(
    config: BucketConfig, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENDPOINT[bucket.scheme], bucket.url)
    here = ObjectClient(replace(config, endpoint=None))

    here.create("a", b"one")

    assert here.read("a", LARGEST)[0] == b"one"


def test_wrong_credentials_are_refused_in_one_line(
    config: BucketConfig, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = {"gs": {"GOOGLE_BEARER_TOKEN": "wrong"}, "az": {"AZURE_STORAGE_ACCOUNT_KEY": "d3Jvbmc="}}
    for name, value in wrong[bucket.scheme].items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StorageRefused, match=r"access is denied \(status 403") as caught:
        ObjectClient(config).read("a", LARGEST)

    assert len(str(caught.value).splitlines()) == 1
    assert len(bucket.seen) == 1


def test_a_missing_bucket_is_named(config: BucketConfig, bucket: Bucket) -> None:
    other = ObjectClient(replace(config, url=parse_bucket_url(f"{bucket.scheme}://no-such-bucket/x")))
    for ask in (lambda: other.read("a", 1), lambda: other.create("a", b""), lambda: other.listing("a")):
        with pytest.raises(StorageRefused, match="no bucket no-such-bucket; create it, or correct data_dir"):
            ask()


def test_a_key_that_cannot_be_read_is_a_settings_error(
    config: BucketConfig, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "this is not base64")
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(config.cache_dir / "absent.json"))
    with pytest.raises((SettingsError, StorageRefused), match=f"{bucket.scheme}://{BUCKET}") as caught:
        ObjectClient(config).read("a", LARGEST)

    assert "this is not base64" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
