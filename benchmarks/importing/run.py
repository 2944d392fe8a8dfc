"""What the import of large files costs: `python benchmarks/importing/run.py [--quick]`.

Writes candle files of 2 GB (quick: 200 MB) as text, and smaller ones compressed and as parquet, and imports each with
the command in a process of its own. The system counts the largest memory and the processor time of that process.
"""

import argparse
import gzip
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).parents[1] / "fetch"))

from table import Row, machine, markdown, write

GB = 1_000_000_000
SIZE, QUICK_SIZE = 2 * GB, GB // 5
PART_OF_SIZE = 10
"""The compressed file and the parquet file hold this part of the rows of the texts."""
MEMORY_MB = 400
BATCH = 50_000
STEPS = {"1s": 1, "1m": 60}
STARTS = {"1s": 1_577_836_800, "1m": 883_612_800}
"""First open of the seconds and of the minutes: those of 2 GB end before today."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one import cost."""

    megabytes: float
    """Largest resident memory of the process."""
    seconds: float
    processor: float
    """Seconds."""


def main() -> None:
    """Print the table and write both files."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="Import files of a tenth of the size.")
    size = QUICK_SIZE if options.parse_args().quick else SIZE
    about = machine()
    with tempfile.TemporaryDirectory() as name:
        rows = list(measured(Path(name), size))
    about["size"] = f"{size / GB:g} GB of text, a tenth of its rows compressed and as parquet"
    print(markdown(rows, about))
    if size == SIZE:
        write(rows, about, "importing")


def measured(folder: Path, size: int) -> Iterator[Row]:
    """Import one file after the other; each is removed afterwards."""
    for step, words, timeframe in (("1s", "seconds", "M5"), ("1m", "minutes", "M1")):
        path = folder / f"BTCUSDT-{step}-2020.csv"
        count = write_csv(path, size, step)
        yield row(
            f"CSV of {count:,} {words}, {path.stat().st_size / GB:.1f} GB, to {timeframe}", run(folder, path, timeframe)
        )
        path.unlink()
    path = folder / "BTCUSDT-1s-2020.csv"
    count = write_csv(path, size // PART_OF_SIZE, "1s")
    with path.open("rb") as text, gzip.open(f"{path}.gz", "wb", compresslevel=1) as packed:
        shutil.copyfileobj(text, packed)
    yield row(f"CSV.gz of {count:,} seconds to M5", run(folder, Path(f"{path}.gz")))
    names = ["date", "open", "high", "low", "close", "volume"]
    pl.read_csv(path, has_header=False, columns=list(range(6)), new_columns=None).rename(
        {f"column_{at}": name for at, name in enumerate(names)}
    ).write_parquet(folder / "BTCUSDT.parquet")
    yield row(f"parquet of {count:,} seconds to M5", run(folder, folder / "BTCUSDT.parquet"))


def row(what: str, cost: Cost) -> Row:
    """Put a cost in a row."""
    reached = f"{cost.megabytes:.0f} MB ({cost.seconds:.0f} s, {cost.processor:.0f} s of processor time)"
    return Row(target=1, what=what, wanted=f"< {MEMORY_MB} MB", reached=reached, met=cost.megabytes < MEMORY_MB)


def run(folder: Path, path: Path, timeframe: str = "M5") -> Cost:
    """Import a file with the command and return its cost."""
    words = ["data", "import", str(path), "--pair", "binance:BTC/USDT", "--timeframe", timeframe, "--resample"]
    data = folder / "data"
    started = time.monotonic()
    environment = {**os.environ, "TRADESCHOOL_DATA_DIR": str(data)}
    process = subprocess.Popen([sys.executable, "-m", "tradeschool", *words], env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, words
    shutil.rmtree(data)
    return Cost(
        megabytes=usage.ru_maxrss / 1024,
        seconds=time.monotonic() - started,
        processor=usage.ru_utime + usage.ru_stime,
    )


def write_csv(path: Path, size: int, step: str) -> int:
    """Write rows in the form of Binance's public data and return their number."""
    random = np.random.default_rng(1)
    count, written = 0, 0
    with path.open("w") as file:
        while written < size:
            text = "".join(lines(count, step, random))
            file.write(text)
            written += len(text)
            count += BATCH
    return count


def lines(first: int, step: str, random: np.random.Generator) -> Iterator[str]:
    """Yield `BATCH` rows from the row number `first` on."""
    seconds = STEPS[step]
    numbers = first + np.arange(BATCH)
    close = np.round(20_000 + 500 * np.sin(numbers / 1e5) + random.normal(0, 5, BATCH), 2)
    opened = np.roll(close, 1)
    high, low = np.maximum(opened, close) + 1, np.minimum(opened, close) - 1
    times = (STARTS[step] + numbers * seconds) * 1000
    for time_, *prices in zip(times, opened, high, low, close, strict=True):
        texts = ",".join(f"{price:.8f}" for price in prices)
        yield f"{time_},{texts},12.50000000,{time_ + seconds * 1000 - 1},1175000.00000000,100,6.25000000,587500.0,0\n"


if __name__ == "__main__":
    main()
