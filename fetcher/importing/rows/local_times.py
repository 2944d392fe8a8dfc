"""Local times to UTC, across both changes of daylight saving time."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from fetcher.importing.files.errors import invalid
from fetcher.importing.files.tables import LINE, Head
from tradeschool.errors import SettingsError
from tradeschool.ohlcv.frame import TIME


def zone_named(name: str) -> str:
    """Return a time zone's name after checking that it exists.

    Raises:
        SettingsError: if it does not.
    """
    try:
        return ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise SettingsError(f"--time-zone {name}: unknown; expected a name such as UTC or America/New_York") from None


def localised(batches: Iterable[pl.DataFrame], zone: str, head: Head) -> Iterator[pl.DataFrame]:
    """Convert the naive `ts` of consecutive batches of rows from a time zone to UTC.

    The hour that a clock repeats is resolved by the order of the rows: a time that goes back within it begins the
    second pass. Rows at the end of a batch that lie in such an hour wait for the next batch.

    Raises:
        InvalidCandles: if a time does not exist in the zone, or exists twice and the rows do not say which it is.
    """
    waiting: pl.DataFrame | None = None
    direction = 0
    for batch in batches:
        rows = batch if waiting is None else pl.concat([waiting, batch])
        direction = direction or _direction(rows["ts"])
        is_twice = _is_twice(rows["ts"], zone)
        settled = rows.height
        while settled and is_twice.item(settled - 1):
            settled -= 1
        waiting = rows.slice(settled) if settled < rows.height else None
        if settled:
            yield _converted(rows.head(settled), is_twice.head(settled), zone, direction or 1, head)
    if waiting is not None:
        yield _converted(waiting, _is_twice(waiting["ts"], zone), zone, direction or 1, head)


def _direction(times: pl.Series) -> int:
    first, last = times.item(0), times.item(-1)
    return 0 if first == last else 1 if last > first else -1


def _is_twice(times: pl.Series, zone: str) -> pl.Series:
    early, late = (
        times.dt.replace_time_zone(zone, ambiguous=pass_, non_existent="null") for pass_ in ("earliest", "latest")
    )
    return (early != late).fill_null(False)


def _converted(rows: pl.DataFrame, is_twice: pl.Series, zone: str, direction: int, head: Head) -> pl.DataFrame:
    passes = pl.lit("earliest")
    if is_twice.any():
        passes = pl.lit(_passes(rows, is_twice, direction, zone, head))
    converted = rows.with_columns(pl.col("ts").dt.replace_time_zone(zone, ambiguous=passes, non_existent="null"))
    if converted["ts"].null_count():
        at = int(converted["ts"].is_null().arg_max() or 0)
        raise invalid(
            head.name,
            f"the time {rows['ts'].item(at)} does not exist in {zone}, where clocks were put forward; "
            "check that --time-zone is that of the file",
            line=int(rows[LINE].item(at)),
            unit=head.unit,
        )
    return converted.with_columns(pl.col("ts").cast(TIME))


def _passes(rows: pl.DataFrame, is_twice: pl.Series, direction: int, zone: str, head: Head) -> pl.Series:
    """Return for each row which pass of a repeated hour it belongs to: `earliest` or `latest`."""
    first, second = ("earliest", "latest") if direction > 0 else ("latest", "earliest")
    table = rows.select(LINE, "ts").with_columns(is_twice.alias("twice"), is_twice.rle_id().alias("run"))
    step = pl.col("ts").diff() * direction
    is_back = pl.col("twice") & pl.col("twice").shift(1) & (step <= pl.duration()).fill_null(False)
    table = table.with_columns(is_back.alias("back"), pl.when(is_back).then(-step).alias("jump"))
    table = table.with_columns(pl.col("back").cast(pl.Int64).cum_sum().over("run").alias("turns"))
    runs = table.filter("twice").group_by("run", maintain_order=True)
    for run in runs.agg(pl.len(), pl.col(LINE, "ts").first(), pl.col("turns", "jump").max()).iter_rows(named=True):
        # A second pass begins near the start of the hour; a time that is merely repeated does not go back.
        is_pass = run["turns"] == 1 and (run["len"] == 2 or run["jump"] * 2 >= _overlap(run["ts"], zone))
        if not is_pass:
            raise invalid(
                head.name,
                f"the time {run['ts']} exists twice in {zone}, where clocks were put back, and the order of the rows "
                "does not say which it is; give a file in UTC",
                line=int(run[LINE]),
                unit=head.unit,
            )
    passes = pl.when(pl.col("turns") > 0).then(pl.lit(second)).otherwise(pl.lit(first))
    return table.select(passes.alias("pass")).to_series()


def _overlap(time: datetime, zone: str) -> timedelta:
    """Return how far the clocks were put back."""
    early, late = (time.replace(tzinfo=ZoneInfo(zone), fold=fold).utcoffset() or timedelta() for fold in (0, 1))
    return early - late
