"""Datasets in a bucket: two machines see the same, concurrent fetchers lose nothing, and damage is named."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.factories.buckets import S3, s3_server
from tradeschool.errors import DataIncomplete, ForeignFile, HoldoutClosed, SealConflict, ServiceUnreachable
from tradeschool.markets import registry
from tradeschool.markets.catalogue import BTC_USD
from tradeschool.markets.definition import define_instrument
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window
from tradeschool.object_storage import client as requests
from tradeschool.object_storage.bucket_config import DataLocation
from tradeschool.object_storage.helper import HelperClient
from tradeschool.store import Seal, bucket_folder, holdout_store
from tradeschool.store.cached_store import CachedStore
from tradeschool.store.frame_store import FrameStore
from tradeschool.store.inventory import stored_inventory
from tradeschool.store.store import Store

WEEK = Window(datetime(2021, 12, 29, tzinfo=UTC), datetime(2022, 1, 5, tzinfo=UTC))
DATASET = Dataset(instrument=BTC_USD, timeframe=Timeframe.H1)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with s3_server() as made:
        yield made


@pytest.fixture
def s3(server: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    monkeypatch.setattr(requests, "FIRST_PAUSE", 0.01)
    yield server
    server.faults.coming, server.faults.always, server.faults.methods = [], "", ("GET", "PUT", "HEAD")
    server.faults.seen.clear()


@pytest.fixture
def one(s3: S3, tmp_path: Path) -> FrameStore:
    """The store of a first machine."""
    return FrameStore(s3.location(tmp_path / "one"))


@pytest.fixture
def other(one: FrameStore, s3: S3, tmp_path: Path) -> FrameStore:
    """The store of a second machine, on the same prefix."""
    return FrameStore(s3.location(tmp_path / "other", prefix=prefix_of(one)))


def prefix_of(store: Store) -> str:
    assert store.location.bucket
    return store.location.bucket.url.prefix


def seal_of(store: FrameStore, made, *, shift: float = 0.0, at: datetime = NOW) -> Seal:
    """Write the year files and return their seal, which is not written yet."""
    candles = made(DATASET, WEEK)
    if shift:
        frame = candles.frame.with_columns(candles.frame["volume"] + shift)
        candles = type(candles)(DATASET, frame)
    files = tuple(store.write_year(candles.within(part), WEEK, year) for year, part in WEEK.years())
    return Seal(
        dataset=DATASET.name,
        start=WEEK.start,
        end=WEEK.end,
        rows=len(candles),
        expected=len(candles),
        gaps=(),
        derived=False,
        files=files,
        sealed_at=at,
    )


def sealed(store: FrameStore, made) -> Seal:
    seal = seal_of(store, made)
    store.seal(DATASET, seal)
    return seal


def test_a_second_machine_reads_what_the_first_sealed(one, other, made, tmp_path: Path) -> None:
    sealed(one, made)
    local = FrameStore(tmp_path / "local")
    sealed(local, made)

    assert other.digest(DATASET, WEEK) == local.digest(DATASET, WEEK)
    assert np.array_equal(other.arrays(DATASET, WEEK).close, local.arrays(DATASET, WEEK).close)
    assert other.candles(DATASET, WEEK).frame.equals(local.candles(DATASET, WEEK).frame)
    assert [row.to_json() for row in stored_inventory(other)] == [row.to_json() for row in stored_inventory(local)]
    other.require(DATASET, WEEK, min_coverage=1.0, min_density=1.0)


def test_the_seal_is_written_last(one, made, s3: S3) -> None:
    sealed(one, made)
    written = [path.partition("?")[0] for method, path in s3.faults.seen if method == "PUT"]

    assert [path.split("/")[-2] for path in written] == ["objects", "objects", "H1"]


def test_an_object_is_named_by_its_content_and_written_once(one, other, made, s3: S3) -> None:
    first, second = seal_of(one, made), seal_of(other, made)

    assert {f"objects/{file.sha256}.parquet" for file in first.files} == set(s3.objects(prefix_of(one)))
    assert first.files == second.files


def test_a_machine_downloads_each_file_once(one, other, made, s3: S3, tmp_path: Path) -> None:
    sealed(one, made)
    s3.faults.seen.clear()
    for folder in ("a", "b"):
        CachedStore(other.location, tmp_path / folder).arrays(DATASET, WEEK)

    assert s3.faults.count("GET", "/objects/") == 2


def test_memory_mapped_columns_need_no_object(one, other, made, tmp_path: Path) -> None:
    sealed(one, made)
    before = CachedStore(other.location, tmp_path / "columns").arrays(DATASET, WEEK)
    for path in (tmp_path / "other" / "cache" / "objects").rglob("*.parquet"):
        path.unlink()
    found = CachedStore(other.location, tmp_path / "columns").arrays(DATASET, WEEK)

    assert isinstance(found.close.base, np.ndarray)
    assert np.array_equal(found.close, before.close)


def test_equal_candles_of_two_fetchers_are_adopted(one, other, made) -> None:
    first = seal_of(one, made)
    second = seal_of(other, made, at=NOW + timedelta(hours=1))
    one.seal(DATASET, first)
    other.seal(DATASET, second)

    assert one.seals(DATASET) == other.seals(DATASET) == [first]


def test_other_candles_of_a_second_fetcher_are_refused(one, other, made) -> None:
    first, second = seal_of(one, made), seal_of(other, made, shift=1.0)
    one.seal(DATASET, first)
    with pytest.raises(
        SealConflict, match=r"another fetcher has sealed coinbase/BTC-USD/H1 .* its seal is kept"
    ) as told:
        other.seal(DATASET, second)

    assert told.value.exit_code == 4
    assert one.seals(DATASET) == other.seals(DATASET) == [first]


def test_a_seal_whose_answer_was_lost_is_written_once(one, made, s3: S3) -> None:
    seal = seal_of(one, made)
    s3.faults.coming, s3.faults.methods = ["lost"], ("PUT",)
    one.seal(DATASET, seal)

    assert one.seals(DATASET) == [seal]


def test_a_removed_seal_is_gone_everywhere_and_can_be_written_again(one, other, made) -> None:
    seal = sealed(one, made)
    assert other.seals(DATASET) == [seal]
    other.unseal(DATASET, WEEK)
    assert one.seals(DATASET) == []
    sealed(one, made)

    assert other.seals(DATASET) == [seal]


def test_a_seal_that_has_changed_is_not_removed(one, other, made) -> None:
    sealed(one, made)
    assert other.seals(DATASET)
    newer = seal_of(one, made, shift=1.0)
    one.seal(DATASET, newer)  # replaces its own
    assert one.bucket
    other.unseal(DATASET, WEEK)

    assert one.seals(DATASET) == other.seals(DATASET) == [newer]


def test_a_failed_upload_leaves_no_seal(one, other, made, s3: S3) -> None:
    s3.faults.always, s3.faults.methods = "ExpiredToken", ("PUT",)
    with pytest.raises(ServiceUnreachable, match="the credentials have expired"):
        sealed(one, made)
    s3.faults.always = ""

    assert other.seals(DATASET) == []
    assert s3.objects(prefix_of(one)) == {}
    sealed(one, made)
    assert other.digest(DATASET, WEEK) == one.digest(DATASET, WEEK)


@pytest.mark.parametrize("fault", ["cut", "InternalError"])
def test_a_failing_download_is_repeated(one, other, made, s3: S3, fault: str) -> None:
    sealed(one, made)
    other.seals(DATASET)
    s3.faults.coming = [fault, fault]

    assert np.array_equal(other.arrays(DATASET, WEEK).close, one.arrays(DATASET, WEEK).close)


def test_other_content_is_refused_and_not_kept(one, other, made, s3: S3) -> None:
    seal = sealed(one, made)
    key = f"{prefix_of(one)}/objects/{seal.files[0].sha256}.parquet"
    s3.put(key, bytes(each ^ 1 for each in s3.get(key)))
    with pytest.raises(ForeignFile, match="has other content"):
        other.arrays(DATASET, WEEK)
    with pytest.raises(ForeignFile, match="has other content"):
        one.verify(DATASET)

    assert not list((other.root.parent / "cache" / "objects").rglob(f"{seal.files[0].sha256}*"))


def test_a_missing_object_is_named(one, other, made, s3: S3) -> None:
    seal = sealed(one, made)
    s3.delete(f"{prefix_of(one)}/objects/{seal.files[0].sha256}.parquet")

    with pytest.raises(ForeignFile, match=r"objects/\w+\.parquet: missing, but a seal lists it"):
        other.arrays(DATASET, WEEK)
    assert not other.holds(DATASET, seal.files[0])


def test_a_silent_bucket_does_not_end_a_search(one, made, s3: S3, tmp_path: Path, caplog) -> None:
    seal = sealed(one, made)
    place = s3.location(tmp_path / "third", prefix=prefix_of(one), patience_seconds=0.05)
    third = Store(place)
    assert third.seals(DATASET) == [seal]
    s3.faults.always = "InternalError"

    assert third.seals(DATASET) == [seal]
    assert "using the seals of" in caplog.text
    with pytest.raises(ServiceUnreachable):
        Store(DataLocation(tmp_path / "fourth", place.bucket)).seals(DATASET)


def test_foreign_keys_become_no_paths(one, s3: S3, tmp_path: Path) -> None:
    for key in (
        "../../../evil.seal.json",
        "a/b/c/../../x.seal.json",
        "a/b/c/d/e.seal.json",
        "x.txt",
        "/a/b/c/d.seal.json",
    ):
        assert not bucket_folder.KNOWN_KEY.fullmatch(key)
    s3.put(f"{prefix_of(one)}/datasets/a/evil.seal.json", b"{}")
    one.dataset_names()

    assert not list(tmp_path.rglob("evil*"))


def test_the_holdout_period_has_seals_of_its_own(one, made) -> None:
    holdout = FrameStore.of(holdout_store(one.location))
    sealed(holdout, made)

    assert str(holdout) == f"{one}/holdout"
    assert one.seals(DATASET) == []
    with pytest.raises(DataIncomplete, match="run: tradeschool fetch"):
        one.arrays(DATASET, WEEK)
    with pytest.raises(HoldoutClosed):
        one.with_closed(WEEK).arrays(DATASET, WEEK)


def test_defined_instruments_reach_another_machine(one, other, made) -> None:
    definition = {"base": "ES", "quote": "USD", "kind": "crypto", "tick": "0.25", "calendar": "24/7"}
    define_instrument(one.root, provider="files", **definition)
    define_instrument(other.root, provider="others", **definition)
    sealed(one, made)
    sealed(other, made)
    one.dataset_names()
    for store in (one, other):
        registry.use(store.root)
        assert {each.provider for each in registry.current().stored().defined} == {"files", "others"}


def test_a_location_survives_json_for_another_process(one, made) -> None:
    sealed(one, made)
    place = DataLocation.from_json(json.loads(json.dumps(one.location.as_json())))

    assert Store(place).digest(DATASET, WEEK) == one.digest(DATASET, WEEK)


def test_a_worker_and_its_forks_never_use_the_library(one, made, s3: S3, tmp_path: Path, monkeypatch) -> None:
    """A forked child of a process that has used the library hangs."""
    sealed(one, made)
    wanted = one.arrays(DATASET, WEEK).close
    worker = Store(s3.location(tmp_path / "worker", prefix=prefix_of(one), refresh_seconds=3_600.0))
    monkeypatch.setattr(bucket_folder, "client_of", HelperClient)
    monkeypatch.setattr(requests.ObjectClient, "__init__", lambda *_: pytest.fail("the library was used"))
    found = worker.arrays(DATASET, WEEK).close
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(worker.arrays(DATASET, WEEK).close, wanted) else 1)

    assert np.array_equal(found, wanted)
    assert os.waitpid(child, 0)[1] == 0
