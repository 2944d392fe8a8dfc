"""Modules in a bucket: signed, named by digest, fetched by workers that lack them, and refused if anything is wrong."""

import json
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from optimizer.strategies import registry
from tests.factories.buckets import S3, s3_server
from tests.factories.levels import level_of
from tradeschool.errors import ServiceUnreachable, SettingsError
from tradeschool.object_storage import client as requests
from tradeschool.object_storage.bucket_config import BucketConfig
from tradeschool.object_storage.client import ObjectClient
from workers.connection.signing import UNSIGNED, Signer
from workers.isolation import published_modules
from workers.isolation.published_modules import (
    ModuleMissing,
    ModuleSupply,
    module_digests,
    object_key,
    publish_module,
    readable_source,
)

KEY = Signer(b"0123456789abcdef")
SOURCE = b"from optimizer.strategies.built_in.sma_cross import STRATEGY\nWHO = 'published'\n"
DIGEST = sha256(SOURCE).hexdigest()
LEVEL = level_of().model_copy(update={"strategy": "published_one:STRATEGY"})
DIGESTS = {"module published_one": DIGEST}


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with s3_server() as made:
        yield made


@pytest.fixture
def s3(server: S3) -> Iterator[S3]:
    yield server
    server.faults.coming, server.faults.always = [], ""
    server.faults.seen.clear()


@pytest.fixture
def config(s3: S3, tmp_path: Path) -> BucketConfig:
    return s3.config(tmp_path)


@pytest.fixture
def supply(config: BucketConfig, tmp_path: Path) -> Iterator[ModuleSupply]:
    """The modules of a worker with the key; afterwards, none is importable."""
    yield ModuleSupply(folder=tmp_path / "modules", bucket=config, signer=KEY)
    registry._folders.clear()
    sys.modules.pop("published_one", None)


@pytest.fixture
def published(config: BucketConfig) -> str:
    digest, is_new = publish_module(ObjectClient(config), KEY, "published_one", SOURCE)
    assert is_new
    return digest


def test_a_worker_fetches_a_module_that_it_lacks(supply, published, s3: S3) -> None:
    supply.provide([LEVEL], DIGESTS)
    assert "published_one" not in sys.modules
    registry.import_own(LEVEL.strategy)
    supply.provide([LEVEL], DIGESTS)

    assert sys.modules["published_one"].WHO == "published"
    assert s3.faults.count("GET", object_key(DIGEST)) == 1


def test_the_digest_decides_which_version_is_imported(supply, published, tmp_path: Path) -> None:
    (tmp_path / "published_one.py").write_text("STRATEGY = WHO = 'local'\n")
    supply.provide([LEVEL], DIGESTS)
    registry.import_own(LEVEL.strategy)

    assert sys.modules["published_one"].WHO == "published"


def test_an_equal_local_module_needs_no_bucket(supply, tmp_path: Path, s3: S3) -> None:
    (tmp_path / "published_one.py").write_bytes(SOURCE)
    supply.provide([LEVEL], DIGESTS)

    assert s3.faults.seen == []
    assert module_digests([LEVEL]) == DIGESTS


def test_publishing_twice_changes_nothing(config, published) -> None:
    assert publish_module(ObjectClient(config), KEY, "published_one", SOURCE) == (published, False)


@pytest.mark.parametrize("digests", [DIGESTS, {}], ids=["named", "unnamed"])
def test_a_missing_module_is_named_with_its_remedy(supply, digests: dict[str, str]) -> None:
    with pytest.raises(ModuleMissing) as told:
        supply.provide([LEVEL], digests)

    assert "this worker has no module 'published_one'" in str(told.value)
    assert "copy published_one.py to its working folder" in str(told.value)
    assert "tradeschool strategy publish published_one:STRATEGY" in str(told.value)


def test_without_a_key_nothing_is_fetched(config, published, tmp_path: Path, s3: S3) -> None:
    s3.faults.seen.clear()
    with pytest.raises(ModuleMissing, match="has no module"):
        ModuleSupply(folder=tmp_path, bucket=config, signer=UNSIGNED).provide([LEVEL], DIGESTS)
    assert s3.faults.seen == []


def content(**changes: object) -> str:
    return json.dumps({"module": "published_one", "sha256": DIGEST, "source": SOURCE.decode()} | changes)


@pytest.mark.parametrize(
    "body",
    [
        content(),
        Signer(b"another key of 16").sign("strategy", "published_one", content()),
        KEY.sign("batch", "published_one", content()),
        KEY.sign("strategy", "another", content()),
        KEY.sign("strategy", "published_one", content(source="import os\n")),
        KEY.sign("strategy", "published_one", content(module="another")),
        KEY.sign("strategy", "published_one", content(source="#" * (published_modules.LARGEST_SOURCE + 1))),
        "[" * 100,
        "",
    ],
    ids=["unsigned", "other key", "other kind", "other name", "other source", "other module", "large", "deep", "empty"],
)
def test_a_foreign_object_is_refused(supply, config: BucketConfig, s3: S3, body: str) -> None:
    s3.put(f"{config.url.prefix}/{object_key(DIGEST)}", body.encode())
    with pytest.raises(ModuleMissing, match="its published module is refused"):
        supply.provide([LEVEL], DIGESTS)

    assert not list(supply.folder.rglob("*.py"))
    assert registry._folders == {}


def test_an_object_beyond_the_limit_is_not_read(supply, config: BucketConfig, s3: S3) -> None:
    s3.put(f"{config.url.prefix}/{object_key(DIGEST)}", b"x" * (published_modules.LARGEST_OBJECT + 1))
    with pytest.raises(ModuleMissing, match=r"3,000,001 bytes, expected at most 3,000,000"):
        supply.provide([LEVEL], DIGESTS)


@pytest.mark.parametrize("name", ["../evil:S", "/evil:S", "a/b:S", "a.b:S", "json:S", "numpy:S", "optimizer:S"])
def test_no_name_leaves_the_folder_or_hides_an_installed_module(supply, name: str, tmp_path: Path) -> None:
    level = LEVEL.model_copy(update={"strategy": name})
    with pytest.raises(ModuleMissing, match="has another version of module"):
        supply.provide([level], {f"module {name.partition(':')[0]}": DIGEST})
    assert not list(tmp_path.rglob("*.py"))


def test_a_digest_becomes_a_path_only_if_it_is_one(supply) -> None:
    with pytest.raises(ModuleMissing):
        supply.provide([LEVEL], {"module published_one": "../../evil"})


def test_a_bucket_that_does_not_answer_is_no_missing_module(config, supply, s3: S3, monkeypatch) -> None:
    monkeypatch.setattr(requests, "FIRST_PAUSE", 0.01)
    s3.faults.always = "ExpiredToken"
    with pytest.raises(ServiceUnreachable, match="the credentials have expired"):
        supply.provide([LEVEL], DIGESTS)


def test_a_changed_copy_is_fetched_again(supply, published) -> None:
    supply.provide([LEVEL], DIGESTS)
    (path,) = supply.folder.rglob("published_one.py")
    path.write_text("raise SystemExit\n")
    supply.provide([LEVEL], DIGESTS)

    assert path.read_bytes() == SOURCE


def test_a_source_is_read_without_importing_it(tmp_path: Path) -> None:
    (tmp_path / "mine_too.py").write_text("raise SystemExit('imported')\n")
    assert readable_source("mine_too") == b"raise SystemExit('imported')\n"
    (tmp_path / "large_one.py").write_text("#" * 1_000_001)
    for name, said in (
        ("large_one", "expected at most"),
        ("absent_one", "expected a file"),
        ("../mine_too", "expected a"),
    ):
        with pytest.raises(SettingsError, match=said):
            readable_source(name)
