"""Volumes by currency: finds the base volume of each row, also where a vendor swapped the columns."""

from collections.abc import Sequence

import polars as pl

from fetcher.importing.files.errors import invalid
from fetcher.importing.files.tables import Head
from fetcher.importing.forms.column_names import currency_of
from tradeschool.markets.instruments import Instrument


def base_column(volumes: Sequence[str], instrument: Instrument, head: Head) -> str:
    """Return the volume column of an instrument's base currency.

    Raises:
        InvalidCandles: if there is none.
    """
    found = next((name for name in volumes if currency_of(name) == instrument.base), None)
    if found is None:
        words = f"column 'volume {instrument.base.lower()}' is missing; found {', '.join(head.columns)[:200]}"
        raise invalid(head.name, words)
    return found


def with_base_volume(frame: pl.DataFrame, volumes: Sequence[str], base: str) -> pl.DataFrame:
    """Add `volume` in base units and `swapped`, whether the columns of a row are swapped.

    Quote volume is base volume times price: if the price is above 1, the base volume is the smaller of the two,
    otherwise the larger.
    """
    others = [name for name in volumes if name != base]
    if not others:
        return frame.with_columns(pl.col(base).alias("volume"), pl.lit(False).alias("swapped"))
    is_larger = pl.col(base) > pl.col(others[0])
    swapped = (pl.col(base) != pl.col(others[0])) & (is_larger == (pl.col("close") > 1))
    return frame.with_columns(
        swapped.alias("swapped"), pl.when(swapped).then(pl.col(others[0])).otherwise(pl.col(base)).alias("volume")
    )
