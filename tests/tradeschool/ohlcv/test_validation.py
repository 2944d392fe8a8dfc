from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tradeschool.markets.calendars import expected_slots
from tradeschool.markets.catalogue import BTC_USD, EUR_USD, find_instrument
from tradeschool.markets.instruments import Dataset, Market
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.findings import FindingKind, Severity
from tradeschool.ohlcv.frame import Candles, schema
from tradeschool.ohlcv.validation import inspect, usual_spacing

BTC = Dataset(instrument=BTC_USD, timeframe=Timeframe.M5)
EUR = Dataset(instrument=EUR_USD, timeframe=Timeframe.H1)
WEEK = Window(datetime(2020, 12, 29, tzinfo=UTC), datetime(2021, 1, 5, tzinfo=UTC))
SUMMER = Window(datetime(2021, 6, 1, tzinfo=UTC), datetime(2021, 7, 13, tzinfo=UTC))
AT = pl.int_range(pl.len())

TIMEFRAMES = {"1m": Timeframe.M5, "5m": Timeframe.M5, "15m": Timeframe.M15, "1h": Timeframe.H1}


def calm(dataset: Dataset, window: Window) -> Candles:
    """Candles in every slot with small moves."""
    return of(dataset, expected_slots(dataset, window))


def of(dataset: Dataset, times: np.ndarray) -> Candles:
    prices = {"open": 1.0, "high": 1.01, "low": 0.99, "close": 1.0, "volume": 10.0, "half_spread": 1e-4}
    frame = pl.DataFrame({"ts": times * 1_000_000}).with_columns(**{name: pl.lit(at) for name, at in prices.items()})
    return parse(dataset, frame.select(schema(dataset).keys()).cast(schema(dataset)))


def parse(dataset: Dataset, frame: pl.DataFrame) -> Candles:
    start, last = frame["ts"].dt.epoch("s").item(0), frame["ts"].dt.epoch("s").item(-1)
    return Candles.parse(frame, dataset, Window.of_seconds(start, last + dataset.timeframe.seconds))


def changed(candles: Candles, **columns: pl.Expr) -> Candles:
    return Candles(candles.dataset, candles.frame.with_columns(**columns))


def kinds(candles: Candles) -> list[FindingKind]:
    return [finding.kind for finding in inspect(candles)]


@pytest.mark.parametrize("dataset", [BTC, EUR, BTC.at(Timeframe.H1), EUR.at(Timeframe.M5)], ids=str)
def test_valid_candles_over_new_year_have_no_finding(dataset: Dataset) -> None:
    assert inspect(calm(dataset, WEEK)) == ()


def test_no_candles_have_no_finding() -> None:
    assert inspect(Candles.empty(BTC)) == ()


def test_one_candle_has_no_finding() -> None:
    assert inspect(of(BTC, np.array([WEEK.start_seconds]))) == ()


def test_hours_in_an_m5_file_are_a_wrong_step_in_each_year() -> None:
    first, second = inspect(of(BTC, expected_slots(BTC.at(Timeframe.H1), WEEK)))

    assert (first.kind, first.rows, second.rows) == (FindingKind.WRONG_STEP, 3, 4)
    assert first.message == "on 3 days the candles are 3600 s apart, expected 300 s"
    assert first.start == WEEK.start


def test_hours_in_a_part_of_an_m5_file_are_a_wrong_step() -> None:
    times = expected_slots(BTC, WEEK)
    two_days = times < WEEK.start_seconds + 2 * 86_400

    assert kinds(of(BTC, times[~two_days | (times % 3600 == 0)])) == [FindingKind.WRONG_STEP]


def test_a_day_with_few_candles_is_not_a_wrong_step() -> None:
    times = expected_slots(BTC, WEEK)
    one_day = times < WEEK.start_seconds + 86_400

    assert kinds(of(BTC, times[~one_day | (times % (4 * 3600) == 0)])) == []


@pytest.mark.parametrize(
    ("shift", "told"), [(2, "+2.0 h"), (3, "+3.0 h"), (-4, "-4.0 h"), (1, "+1.0 h")], ids=lambda value: str(value)
)
def test_a_non_utc_clock_is_detected_at_weekends(shift: int, told: str) -> None:
    finding = inspect(of(EUR, expected_slots(EUR, SUMMER) + shift * 3600))[0]

    assert (finding.kind, finding.rows) == (FindingKind.WRONG_TIME_ZONE, 6)
    assert told in finding.message


def test_a_missing_daylight_saving_shift_is_detected() -> None:
    """Correct in winter, one hour late from mid-March on."""
    year = Window(datetime(2021, 1, 10, tzinfo=UTC), datetime(2021, 12, 1, tzinfo=UTC))
    times = expected_slots(EUR, year)
    summer = (times > datetime(2021, 3, 14, 12, tzinfo=UTC).timestamp()) & (
        times < datetime(2021, 11, 7, 12, tzinfo=UTC).timestamp()
    )

    assert kinds(of(EUR, times + summer * 3600))[0] is FindingKind.WRONG_TIME_ZONE


def test_late_opens_alone_are_no_finding() -> None:
    times = expected_slots(EUR, SUMMER)
    opens = np.diff(times, prepend=times[0]) > 3600
    late = opens | np.roll(opens, 1) | np.roll(opens, 2)

    assert kinds(of(EUR, times[~late])) == []


def test_crypto_weekends_are_no_finding() -> None:
    hours = BTC.at(Timeframe.H1)

    assert kinds(of(hours, expected_slots(EUR, SUMMER) + 7200)) == []


@pytest.mark.parametrize(("factor", "found"), [(100.0, FindingKind.PRICE_SCALE), (0.01, FindingKind.PRICE_SCALE)])
def test_a_wrong_price_scale_is_refused(factor: float, found: FindingKind) -> None:
    scaled = {
        name: pl.when(AT > 400).then(pl.col(name) * factor).otherwise(pl.col(name))
        for name in ("open", "high", "low", "close")
    }

    assert kinds(changed(calm(BTC, WEEK), **scaled)) == [found, FindingKind.PRICE_JUMP]


@pytest.mark.parametrize(("dataset", "low", "jumps"), [(BTC, 0.7, 1), (BTC, 0.8, 0), (EUR, 0.94, 1), (EUR, 0.96, 0)])
def test_a_price_jump_beyond_the_market_bound_warns(dataset: Dataset, low: float, jumps: int) -> None:
    deep = pl.when(AT == 40).then(low).otherwise(pl.col("low"))
    found = inspect(changed(calm(dataset, WEEK), low=deep))

    assert [(finding.kind, finding.rows) for finding in found] == [(FindingKind.PRICE_JUMP, 1)] * jumps


@pytest.mark.parametrize(("ratio", "jumps"), [(90.0, 0), (101.0, 1), (30_000.0, 1)])
def test_a_wrong_volume_unit_is_refused(ratio: float, jumps: int) -> None:
    volume = pl.when(AT >= 3 * 288).then(pl.col("volume") * ratio).otherwise(pl.col("volume"))
    found = inspect(changed(calm(BTC, WEEK), volume=volume))

    assert [(finding.kind, finding.start) for finding in found] == [
        (FindingKind.VOLUME_SCALE, datetime(2021, 1, 1, tzinfo=UTC))
    ] * jumps


def test_one_candle_of_huge_volume_is_not_a_wrong_unit() -> None:
    assert kinds(changed(calm(BTC, WEEK), volume=pl.when(AT == 40).then(1e9).otherwise(pl.col("volume")))) == []


def test_flat_candles_without_volume_warn() -> None:
    flat = {name: pl.when(AT < 3).then(1.0).otherwise(pl.col(name)) for name in ("high", "low")}
    volume = pl.when(AT < 5).then(0.0).otherwise(pl.col("volume"))
    (finding,) = inspect(changed(calm(BTC, WEEK), volume=volume, **flat))

    assert (finding.kind, finding.rows) == (FindingKind.FLAT_WITHOUT_VOLUME, 3)
    assert finding.end - finding.start == timedelta(minutes=15)


def test_fx_candles_on_a_saturday_warn() -> None:
    times = expected_slots(EUR, SUMMER)
    saturday = int(datetime(2021, 6, 5, 12, tzinfo=UTC).timestamp())
    (finding,) = inspect(of(EUR, np.sort(np.append(times, saturday))))

    assert (finding.kind, finding.rows) == (FindingKind.OUT_OF_SESSION, 1)


@pytest.mark.parametrize(("times", "spacing"), [([], 0), ([5], 0), ([5, 10, 15, 90], 5), ([90, 15, 10, 5], 5)])
def test_the_usual_spacing_is_the_most_frequent_one(times: list[int], spacing: int) -> None:
    assert usual_spacing(np.array(times, dtype=np.int64)) == spacing


def real(path: Path) -> Candles:
    """A shared file as candles; minutes are aggregated to M5, quotes to mid prices."""
    source, pair, timeframe = path.stem.split("_")
    dataset = Dataset(instrument=find_instrument(pair.replace("USDT", "USD")), timeframe=TIMEFRAMES[timeframe])
    frame = pl.read_parquet(path)
    if "bidask" in source:
        names = dict(zip("ohlc", ("open", "high", "low", "close"), strict=True))
        middle = [((pl.col(f"bid_{x}") + pl.col(f"ask_{x}")) / 2).alias(name) for x, name in names.items()]
        frame = frame.select("ts", "volume", *middle)
    if timeframe == "1m":
        prices = [pl.col("open").first(), pl.col("high").max(), pl.col("low").min(), pl.col("close").last()]
        frame = frame.group_by_dynamic("ts", every="5m").agg(*prices, pl.col("volume").sum())
    frame = frame.with_columns(half_spread=pl.lit(1e-4)).select(schema(dataset).keys())
    return parse(dataset, frame)


def test_no_real_candles_are_refused(shared: Path) -> None:
    paths = sorted((shared / "data").glob("*.parquet"))

    assert paths
    for path in paths:
        found = inspect(real(path))
        assert not [finding for finding in found if finding.severity is Severity.REFUSE], path.name


@pytest.mark.parametrize("name", ["mt5a_EUR-USD_5m", "mt5b_GBP-USD_15m", "oanda_EUR-USD_1h"])
def test_real_fx_candles_in_broker_time_are_refused(shared: Path, name: str) -> None:
    candles = real(shared / "data" / f"{name}.parquet")
    athens = pl.col("ts").dt.convert_time_zone("Europe/Athens").dt.replace_time_zone("UTC")
    shifted = parse(candles.dataset, candles.frame.with_columns(ts=athens).unique("ts", keep="first").sort("ts"))

    assert candles.dataset.instrument.market is Market.FX
    assert FindingKind.WRONG_TIME_ZONE in kinds(shifted)
