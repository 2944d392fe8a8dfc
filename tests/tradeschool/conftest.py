"""Fixtures that run the program in this process."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from optimizer.bars.random_walk import random_walk
from tradeschool.cli.main import main
from tradeschool.markets.catalogue import find_dataset
from tradeschool.markets.timerange import parse_timerange
from tradeschool.ohlcv.arrays import CandleArrays


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """Run the program in this process: exit code, standard output, standard error."""

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["tradeschool", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return run


@pytest.fixture
def seal_random_walk(command: Callable[..., tuple[int, str, str]], tmp_path: Path) -> Callable[..., CandleArrays]:
    """Seal a synthetic market: dataset, time range and seed; returns its candles."""

    def seal(dataset: str, timerange: str, seed: int = 5) -> CandleArrays:
        candles = random_walk(find_dataset(dataset), parse_timerange(timerange), seed=seed)
        frame = pl.DataFrame({"ts": candles.time * 1_000_000, **candles.numbers}).with_columns(
            pl.col("ts").cast(pl.Datetime("us", "UTC"))
        )
        file = tmp_path / "made.parquet"
        frame.write_parquet(file)
        code, _, told = command("data", "import", str(file), "--dataset", dataset, "--timerange", timerange)
        assert code == 0, told
        return candles

    return seal
