import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tradeschool.errors import DataIncomplete, ForeignFile, StoreUnwritable
from tradeschool.markets.calendars import expected_slots
from tradeschool.markets.catalogue import BTC_USD, ETH_USD, EUR_USD
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.frame import Candles, schema
from tradeschool.store import Gap, GapReason, PartFile, Seal
from tradeschool.store.frame_store import FrameStore

BTC = Dataset(instrument=BTC_USD, timeframe=Timeframe.H1)
ETH = Dataset(instrument=ETH_USD, timeframe=Timeframe.H1)
EUR = Dataset(instrument=EUR_USD, timeframe=Timeframe.H1)

Made = Callable[[Dataset, Window], Candles]


def days(start: str, end: str) -> Window:
    return Window(datetime.fromisoformat(start).replace(tzinfo=UTC), datetime.fromisoformat(end).replace(tzinfo=UTC))


OVER_NEW_YEAR = days("2020-12-21", "2021-01-11")


def seal_of(candles: Candles, window: Window, files: list[PartFile]) -> Seal:
    expected = expected_slots(candles.dataset, window)
    return Seal(
        dataset=candles.dataset.name,
        start=window.start,
        end=window.end,
        rows=len(candles),
        expected=len(expected),
        gaps=(),
        derived=False,
        files=tuple(files),
        sealed_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def put(store: FrameStore, candles: Candles, window: Window) -> Seal:
    """Write and seal candles, one file per year."""
    files = [store.write_year(candles.within(part), window, year) for year, part in window.years()]
    seal = seal_of(candles, window, files)
    store.seal(candles.dataset, seal)
    return seal


@pytest.fixture(params=[BTC, EUR], ids=str)
def dataset(request: pytest.FixtureRequest) -> Dataset:
    return request.param


@pytest.fixture
def sealed(store: FrameStore, made: Made) -> FrameStore:
    """Three weeks of BTC over New Year, in two files."""
    put(store, made(BTC, OVER_NEW_YEAR), OVER_NEW_YEAR)
    return store


def first_file(store: FrameStore) -> Path:
    return sorted(store.folder(BTC).rglob("*.parquet"))[0]


def seal_file(store: FrameStore) -> Path:
    return next(store.folder(BTC).glob("*.seal.json"))


def test_written_candles_are_read_back(store: FrameStore, made: Made, dataset: Dataset) -> None:
    candles = made(dataset, OVER_NEW_YEAR)
    put(store, candles, OVER_NEW_YEAR)

    assert store.candles(dataset, OVER_NEW_YEAR).frame.equals(candles.frame)


def test_arrays_equal_the_candles(store: FrameStore, made: Made, dataset: Dataset) -> None:
    put(store, made(dataset, OVER_NEW_YEAR), OVER_NEW_YEAR)
    part = days("2020-12-29", "2021-01-03")
    arrays, frame = store.arrays(dataset, part), store.candles(dataset, part).frame

    assert arrays.time.tolist() == frame["ts"].dt.epoch("s").to_list()
    for name in [name for name in schema(dataset) if name != "ts"]:
        assert getattr(arrays, name).tolist() == frame[name].to_list()
    assert (arrays.half_spread is None) == (dataset is BTC)


def test_equal_candles_give_equal_bytes(tmp_path: Path, made: Made) -> None:
    candles = made(EUR, OVER_NEW_YEAR)
    chunked = Candles(EUR, pl.concat([candles.frame[:100], candles.frame[100:]], rechunk=False))
    year, part = next(OVER_NEW_YEAR.years())
    one = FrameStore(tmp_path / "one").write_year(candles.within(part), OVER_NEW_YEAR, year)
    other = FrameStore(tmp_path / "other").write_year(chunked.within(part), OVER_NEW_YEAR, year)

    assert one == other


def test_a_part_file_has_its_size_and_digest(sealed: FrameStore) -> None:
    file = sealed.seals(BTC)[0].files[0]

    assert file.bytes == first_file(sealed).stat().st_size
    assert file.path == "year=2020/20201221-20210111.parquet"


def test_candles_without_a_seal_are_not_read(store: FrameStore, made: Made) -> None:
    """The seal is written last: files of a killed writer are not read."""
    year, part = next(OVER_NEW_YEAR.years())
    store.write_year(made(BTC, part), OVER_NEW_YEAR, year)

    assert store.seals(BTC) == []
    assert store.unknown_files(BTC) == [first_file(store)]
    with pytest.raises(DataIncomplete):
        store.arrays(BTC, part)


def test_a_changed_byte_is_detected(sealed: FrameStore) -> None:
    path = first_file(sealed)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    told = "changed since it was sealed .*; run tradeschool fetch to download it again"

    for read in (
        sealed.verify,
        lambda it: sealed.candles(it, OVER_NEW_YEAR),
        lambda it: sealed.require(it, OVER_NEW_YEAR),
    ):
        with pytest.raises(ForeignFile, match=told):
            read(BTC)


def test_a_lost_file_is_detected(sealed: FrameStore) -> None:
    first_file(sealed).unlink()

    with pytest.raises(
        ForeignFile, match=r"20201221-20210111\.parquet: No such file or directory, but its seal lists it"
    ):
        sealed.verify(BTC)


@pytest.mark.parametrize("content", [b"", b"no parquet at all", None], ids=["empty", "text", "other columns"])
def test_a_file_without_candles_is_reported_on_read(sealed: FrameStore, content: bytes | None) -> None:
    path = first_file(sealed)
    if content is None:
        pl.DataFrame({"x": [1]}).write_parquet(path)
    else:
        path.write_bytes(content)

    with pytest.raises(ForeignFile, match=re.escape(f"{path}: cannot be read as candles")):
        sealed.arrays(BTC, OVER_NEW_YEAR)


def test_a_seal_of_another_dataset_is_reported(sealed: FrameStore) -> None:
    there = sealed.folder(ETH) / seal_file(sealed).name
    there.parent.mkdir(parents=True)
    there.write_bytes(seal_file(sealed).read_bytes())

    with pytest.raises(
        ForeignFile, match="seal of coinbase/BTC-USD/H1, expected coinbase/ETH-USD/H1; move the file back"
    ):
        sealed.seals(ETH)


@pytest.mark.parametrize(
    "path",
    [
        "../../../etc/passwd",
        "/etc/passwd.parquet",
        "year=2020/../../x.parquet",
        "year=2020/x",
        "year=abcd/x.parquet",
        "year=../x.parquet",
        "x.parquet",
        "year=2020/a/x.parquet",
        "",
    ],
)
def test_a_seal_with_a_path_outside_its_folder_is_refused(sealed: FrameStore, path: str) -> None:
    seal = json.loads(seal_file(sealed).read_text())
    seal["files"][0]["path"] = path
    seal_file(sealed).write_text(json.dumps(seal))

    with pytest.raises(ForeignFile, match="not a seal of this version"):
        sealed.seals(BTC)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"rows": -1},
        {"extra": 1},
        {"start": "2021-01-11T00:00:00Z"},
        {"start": "2020-12-21T00:00:00"},
        {"start": "2020-12-21T00:00:00+05:00"},
        {"files": [{"path": "year=2020/x.parquet", "rows": 1, "bytes": 1, "sha256": "short"}]},
    ],
    ids=["version", "negative rows", "unknown key", "empty range", "naive time", "other zone", "digest"],
)
def test_a_seal_of_unknown_format_is_reported_with_advice(sealed: FrameStore, change: dict[str, object]) -> None:
    seal_file(sealed).write_text(json.dumps(json.loads(seal_file(sealed).read_text()) | change))

    with pytest.raises(ForeignFile, match=r"not a seal of this version .*; run: .* repair coinbase") as caught:
        sealed.seals(BTC)
    assert "\n" not in str(caught.value)


def test_a_truncated_seal_is_reported(sealed: FrameStore) -> None:
    seal_file(sealed).write_bytes(seal_file(sealed).read_bytes()[:50])

    with pytest.raises(ForeignFile, match="not a seal of this version"):
        sealed.seals(BTC)


def test_missing_candles_are_reported_with_the_fetch_command(sealed: FrameStore) -> None:
    told = (
        "coinbase/BTC-USD/H1: 2020-12-11..2020-12-21, 2021-01-11..2021-01-12 is not sealed in .*; run: tradeschool "
        "fetch --pairs BTC/USD --timeframes H1 --timerange 20201211-20210112"
    )

    with pytest.raises(DataIncomplete, match=told):
        sealed.require(BTC, days("2020-12-11", "2021-01-12"))


def test_the_fetch_command_names_whole_days(store: FrameStore) -> None:
    morning = Window(OVER_NEW_YEAR.start + timedelta(hours=6), OVER_NEW_YEAR.start + timedelta(hours=12))

    with pytest.raises(DataIncomplete, match="--timerange 20201221-20201222"):
        store.require(BTC, morning)


def test_sealed_candles_satisfy_a_requirement(sealed: FrameStore) -> None:
    sealed.require(BTC, OVER_NEW_YEAR, min_coverage=1.0)


def test_insufficient_coverage_is_reported_with_both_shares(store: FrameStore, made: Made) -> None:
    candles = made(BTC, OVER_NEW_YEAR)
    put(store, Candles(BTC, candles.frame[::2]), OVER_NEW_YEAR)

    assert (store.coverage(BTC, OVER_NEW_YEAR), store.density(BTC, OVER_NEW_YEAR)) == (1.0, 0.5)
    store.require(BTC, OVER_NEW_YEAR, min_coverage=1.0, min_density=0.5)
    with pytest.raises(DataIncomplete, match=r"has 50\.00% of its candles traded, expected at least 60\.00%"):
        store.require(BTC, OVER_NEW_YEAR, min_density=0.6)


def test_a_window_without_trading_hours_is_covered(store: FrameStore, made: Made) -> None:
    put(store, made(EUR, OVER_NEW_YEAR), OVER_NEW_YEAR)
    saturday = days("2021-01-02", "2021-01-03")

    assert store.coverage(EUR, saturday) == 1.0
    assert len(store.arrays(EUR, saturday)) == 0


BOUNDS = st.tuples(st.integers(0, 40), st.integers(1, 20)).map(lambda it: (it[0], it[0] + it[1]))


@given(st.lists(BOUNDS, min_size=1, max_size=4, unique=True), BOUNDS)
@hypothesis_settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_overlapping_seals_repeat_no_candle(
    tmp_path_factory: pytest.TempPathFactory, made: Made, ranges: list[tuple[int, int]], asked: tuple[int, int]
) -> None:
    """A window covered by any sealed ranges contains each candle once."""
    first = datetime(2020, 12, 12, tzinfo=UTC)

    def of(bounds: tuple[int, int]) -> Window:
        return Window(first + timedelta(days=bounds[0]), first + timedelta(days=bounds[1]))

    store = FrameStore(tmp_path_factory.mktemp("data"))
    for bounds in ranges:
        put(store, made(BTC, of(bounds)), of(bounds))
    days_sealed = {day for bounds in ranges for day in range(*bounds)}
    if days_sealed >= set(range(*asked)):
        assert store.arrays(BTC, of(asked)).time.tolist() == expected_slots(BTC, of(asked)).tolist()
    else:
        with pytest.raises(DataIncomplete):
            store.arrays(BTC, of(asked))


def test_equal_candles_have_equal_digests_in_any_store(tmp_path: Path, sealed: FrameStore, made: Made) -> None:
    other = FrameStore(tmp_path / "elsewhere")
    put(other, made(BTC, OVER_NEW_YEAR), OVER_NEW_YEAR)

    assert other.digest(BTC, OVER_NEW_YEAR) == sealed.digest(BTC, OVER_NEW_YEAR)


def test_a_changed_candle_or_window_changes_the_digest(tmp_path: Path, sealed: FrameStore, made: Made) -> None:
    other = FrameStore(tmp_path / "elsewhere")
    put(other, Candles(BTC, made(BTC, OVER_NEW_YEAR).frame[1:]), OVER_NEW_YEAR)
    part = days("2020-12-22", "2021-01-11")

    digests = [sealed.digest(BTC, OVER_NEW_YEAR), sealed.digest(BTC, part), other.digest(BTC, OVER_NEW_YEAR)]
    assert len(set(digests)) == 3


def test_removing_a_seal_keeps_its_files(sealed: FrameStore) -> None:
    sealed.unseal(BTC, OVER_NEW_YEAR)

    assert sealed.seals(BTC) == []
    assert len(sealed.unknown_files(BTC)) == 2


def test_a_seal_counts_missing_candles() -> None:
    window = days("2020-01-01", "2020-01-02")
    gap = Gap(start=window.start, end=window.start + timedelta(hours=3), slots=3, reason=GapReason.CONFIRMED_EMPTY)
    seal = seal_of(Candles.empty(BTC), window, []).model_copy(update={"gaps": (gap, gap)})

    assert (seal.missing, seal.coverage, seal.density) == (6, 1.0, 0.75)
    imported = seal.model_copy(update={"source": "imported:candles.csv"})
    assert (imported.coverage, imported.density) == (0.75, 0.75)


def test_a_full_disk_is_a_one_line_error_and_leaves_no_file(small_disk: Path, made: Made) -> None:
    """Polars has its own error for a full disk; a year of M5 does not fit."""
    store = FrameStore(small_disk / "data")
    window = days("2020-01-01", "2021-01-01")
    noise = np.random.default_rng(1).random(105_408)
    candles = made(BTC.at(Timeframe.M5), window)
    noisy = Candles(candles.dataset, candles.frame.with_columns(volume=pl.Series(noise)))

    with pytest.raises(StoreUnwritable, match=r"cannot write .*No space left.*; free space or fix permissions"):
        store.write_year(noisy, window, 2020)
    assert [path for path in small_disk.rglob("*") if path.is_file()] == []


def test_a_seal_without_findings_is_read(sealed: FrameStore) -> None:
    told = json.loads(seal_file(sealed).read_text())
    del told["findings"]
    seal_file(sealed).write_text(json.dumps(told))

    assert sealed.seals(BTC)[0].findings == ()
