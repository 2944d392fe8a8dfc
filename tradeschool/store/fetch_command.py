"""The command line that fetches a range; error messages recommend it."""

from collections.abc import Sequence
from datetime import timedelta

from tradeschool.markets.instruments import Dataset, Instrument
from tradeschool.markets.shipped import INSTRUMENTS
from tradeschool.markets.windows import Window

FETCH = "tradeschool fetch"


FETCH_SEALED = f"{FETCH} --holdout"


def fetch_command(datasets: Sequence[Dataset], window: Window) -> str:
    """Return the command line that fetches a range of an instrument's datasets, in whole days."""
    last = window.end + timedelta(days=1) - timedelta(microseconds=1)
    timeframes = ",".join(dict.fromkeys(dataset.timeframe.name for dataset in datasets))
    return (
        f"{FETCH} --pairs {_pair_argument(datasets[0].instrument)} --timeframes {timeframes} "
        f"--timerange {window.start:%Y%m%d}-{last:%Y%m%d}"
    )


def _pair_argument(instrument: Instrument) -> str:
    return instrument.pair if instrument in INSTRUMENTS else instrument.full_name
