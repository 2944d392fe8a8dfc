"""Reader of one candle file: recognises it, and yields its candles in UTC after checking each row."""

from collections.abc import Iterator
from datetime import datetime

import numpy as np
import polars as pl

from fetcher.importing.file_facts import FileFacts
from fetcher.importing.files.errors import invalid
from fetcher.importing.files.opening import open_table
from fetcher.importing.files.sources import CandleFile
from fetcher.importing.files.tables import LINE, Progress, no_progress
from fetcher.importing.forms.layout import BID_ASK, Side
from fetcher.importing.forms.recognition import layout_of
from fetcher.importing.request import ImportRequest
from fetcher.importing.rows.checks import OrderCheck, check_contract
from fetcher.importing.rows.local_times import localised, zone_named
from fetcher.importing.rows.numbers import decimal_mark, with_numbers
from fetcher.importing.rows.spreads import to_ticks, with_spread
from fetcher.importing.rows.timestamps import NAIVE, TimeReader
from fetcher.importing.rows.volumes import base_column, with_base_volume
from tradeschool.errors import SettingsError
from tradeschool.markets.instruments import Instrument
from tradeschool.markets.names import ALIASES
from tradeschool.ohlcv.arrays import PRICES
from tradeschool.ohlcv.validation import usual_spacing

FEW_DISTANCES = 5
"""Distances from which their greatest common divisor tells the timeframe of a market with missing candles."""


class FileReader:
    """One candle file, opened and understood.

    Raises:
        InvalidCandles: if it is no table of candles.
        SettingsError: if an option is malformed, or the time zone has to be given.
    """

    def __init__(self, file: CandleFile, request: ImportRequest) -> None:
        self.file, self._request = file, request
        self.table = open_table(file)
        self.head = self.table.head
        self.layout = layout_of(self.head, request.form, columns=request.columns, side=request.side)
        self._times = TimeReader(self.table, self.layout, request.time_format)
        sample = self._times.read(self.head.sample)
        self._zone = self._declared_zone(sample)
        self._sample = sample
        prices = [self.layout.columns[name] for name in (*PRICES, *BID_ASK) if name in self.layout.columns]
        self._mark = decimal_mark(self.table, prices, request.decimal_mark)
        self.facts = FileFacts(
            name=file.name,
            form=self.layout.form.value,
            columns={"ts": " + ".join(self.layout.time), **self.layout.columns},
            zone=self._zone,
            side="bid and ask" if self.layout.is_both else self.layout.side.value,
        )

    @property
    def sample_step(self) -> int:
        """Distance between the first candles in seconds, 0 for one candle."""
        times = self._sample.dt.epoch("s").to_numpy()
        distances = np.abs(np.diff(times))
        distances = distances[distances > 0]
        if not len(distances):
            return 0
        return int(np.gcd.reduce(distances)) if len(distances) >= FEW_DISTANCES else usual_spacing(times)

    def rows(self, instrument: Instrument, now: datetime, progress: Progress = no_progress) -> Iterator[pl.DataFrame]:
        """Yield the candles in batches, each oldest first, with `line`, `ts`, prices, volume and any `half_spread`.

        Raises:
            InvalidCandles: if a row is damaged, breaks the contract or is out of order; names the line.
        """
        base = base_column(self.layout.volumes, instrument, self.head) if self.layout.volumes else None
        timed = (self._with_times(raw) for raw in self.table.batches(self.layout.wanted, progress))
        order = OrderCheck(self.head)
        for frame in localised(timed, self._zone, self.head) if self._zone else timed:
            order.check(frame)
            self._check_future(frame, now)
            self._check_symbol(frame, instrument)
            rows = self._with_prices(frame, instrument, base)
            if order.direction < 0:
                rows = rows.reverse()
            self.facts.add(rows, order.direction)
            yield rows

    def _declared_zone(self, sample: pl.Series) -> str | None:
        """Return the time zone of the file's times, None if they are in UTC or have an offset."""
        given, times = self._request.zone, self.head.sample[self.layout.time[0]]
        shown = str(times.item(0)).strip()[:40]
        if sample.dtype != NAIVE and not (given and self.layout.has_local_unix_times):
            if given is not None:
                raise SettingsError(f"--time-zone {given}: times such as {shown} are in UTC already; omit it")
            return None
        zone = given or self.layout.zone
        if zone is None:
            raise SettingsError(
                f"{self.file.name}: times such as {shown} have no time zone: give one, such as --time-zone UTC"
            )
        return zone_named(zone)

    def _with_times(self, raw: pl.DataFrame) -> pl.DataFrame:
        """Return raw rows with `ts` and the columns that are still needed, under names of their meaning."""
        times = self._times.read(raw)
        if self._zone:
            times = times.dt.replace_time_zone(None)
        columns = self.layout.columns
        numbers = [name for name in columns if name != "symbol"]
        chosen = [pl.col(columns[name]).alias(name) for name in columns]
        volumes = [pl.col(name) for name in self.layout.volumes]
        if "volume" in columns and columns["volume"] in self.layout.volumes:
            volumes = [pl.col(name) for name in self.layout.volumes if name != columns["volume"]]
        frame = raw.select(LINE, times, *chosen, *volumes)
        numbers += [name for name in self.layout.volumes if name in frame.columns]
        return with_numbers(frame, numbers, self._mark, self.head)

    def _with_prices(self, frame: pl.DataFrame, instrument: Instrument, base: str | None) -> pl.DataFrame:
        frame = with_spread(frame, self.layout, instrument, self._request.spread_pips, self.head)
        if base:
            frame = with_base_volume(frame, self.layout.volumes, base)
            if swapped := int(frame["swapped"].sum()):
                self.facts.swapped.append((frame.filter("swapped").select(pl.col("ts").min()).item(), swapped))
        elif "volume" not in frame.columns:
            frame = frame.with_columns(volume=pl.lit(0.0))
        if self.layout.is_rounded:
            frame = frame.with_columns(to_ticks(instrument))
        kept = [LINE, "ts", *PRICES, "volume"]
        if instrument.has_spread and "half_spread" in frame.columns:
            kept.append("half_spread")
        rows = frame.select(kept)
        check_contract(rows, self.head)
        return rows

    def _check_future(self, frame: pl.DataFrame, now: datetime) -> None:
        future = frame["ts"] > now
        if future.any():
            at = int(future.arg_max() or 0)
            raise invalid(
                self.head.name,
                f"the time {frame['ts'].item(at):%Y-%m-%d %H:%M} UTC is in the future; check the time zone and format",
                line=int(frame[LINE].item(at)),
                unit=self.head.unit,
            )

    def _check_symbol(self, frame: pl.DataFrame, instrument: Instrument) -> None:
        if "symbol" in frame.columns:
            for symbol in frame["symbol"].cast(pl.String).unique(maintain_order=True).drop_nulls():
                if not is_symbol_of(symbol, instrument):
                    at = int((frame["symbol"].cast(pl.String) == symbol).arg_max() or 0)
                    raise invalid(
                        self.head.name,
                        f"contains symbol {symbol[:40]}, expected {instrument.pair}",
                        line=int(frame[LINE].item(at)),
                        unit=self.head.unit,
                    )

    @property
    def is_one_side(self) -> bool:
        """Whether the file has the prices of one side, without a spread that makes them mid prices."""
        has_spread = self._request.spread_pips is not None or bool(
            {"spread", "half_spread"} & self.layout.columns.keys()
        )
        return self.layout.side is not Side.MID and not has_spread


def is_symbol_of(symbol: str, instrument: Instrument) -> bool:
    """Whether a vendor's symbol, such as `BTC/USD`, `XBTUSD` or `EURUSD=X`, may be that of an instrument."""
    letters = "".join(letter for letter in symbol.upper().rpartition(":")[2].removesuffix("=X") if letter.isalnum())
    for alias, known in ALIASES.items():
        letters = known + letters.removeprefix(alias) if letters.startswith(alias) else letters
    return letters in (instrument.base, instrument.base + instrument.quote)
