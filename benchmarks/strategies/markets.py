"""Real candles from a folder of parquet files, sealed in a new project with the four levels over them.

The commands are those of a user: `data import`, then `init`. The holdout period goes into the folder that no search
reads. FX has H1 candles only, because bid and ask of M5 and M15 are not among the files.
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from optimizer.curriculum.level_files import load_levels
from tradeschool.store.store import HOLDOUT_FOLDER

CURRICULUM = "curriculum.toml"
READY = "ready"
"""Empty file in the project, written when it is complete."""
GATE_NOT_MET = 3
FIRST, END = "2020-01-01", "2024-04-01"
TIMEFRAMES = ("M5", "M15", "H1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file of candles and the datasets that are made from it."""

    file: str
    pair: str
    timeframes: tuple[str, ...]
    """The first is that of the file; the others are resampled."""

    @property
    def words(self) -> str:
        """The pair as `init` names it."""
        provider, _, name = self.pair.partition("/")
        return f"{provider}:{name.replace('-', '/')}"


SOURCES = (
    Source(file="binance_BTC-USDT_5m.parquet", pair="coinbase/BTC-USD", timeframes=TIMEFRAMES),
    Source(file="binance_ETH-USDT_5m.parquet", pair="coinbase/ETH-USD", timeframes=TIMEFRAMES),
    Source(file="oanda-bidask_EUR-USD_1h.parquet", pair="oanda/EUR-USD", timeframes=("H1",)),
    Source(file="oanda-bidask_GBP-USD_1h.parquet", pair="oanda/GBP-USD", timeframes=("H1",)),
)


def missing_files(folder: Path) -> list[str]:
    """The files that the folder lacks."""
    return [source.file for source in SOURCES if not (folder / source.file).is_file()]


def make_project(candles: Path, project: Path) -> None:
    """Seal the candles and write the curriculum, unless the project is complete."""
    if (project / READY).exists():
        return
    for source in SOURCES:
        _import(candles, project, source, f"{FIRST}..{END}", project / "data")
    pairs = ",".join(source.words for source in SOURCES)
    run(project, "init", "--pairs", pairs, "--from", FIRST, "--to", END, "--timeframes", "H1", "--force")
    written = project / CURRICULUM
    holdout = load_levels(written)[0].holdout.window
    for source in SOURCES:
        whole = f"{holdout.start:%Y-%m-%d}..{holdout.end:%Y-%m-%d}"
        _import(candles, project, source, whole, project / "data" / HOLDOUT_FOLDER)
    text = written.read_text()
    for source in SOURCES:
        text = _with_timeframes(text, source)
    written.write_text(text)
    load_levels(written)
    (project / READY).touch()


def run(project: Path, *words: str, data: Path | None = None) -> int:
    """Run a command of tradeschool in the project; its exit code, 0 or 3.

    Raises:
        SystemExit: The command failed; its last line is the message.
    """
    chosen = {"TRADESCHOOL_DATA_DIR": str(data.resolve())} if data else {}
    command = [sys.executable, "-m", "tradeschool", *words]
    done = subprocess.run(
        command, cwd=project, env={**os.environ, **chosen}, check=False, capture_output=True, text=True
    )
    if done.returncode not in {0, GATE_NOT_MET}:
        raise SystemExit(f"{' '.join(words)}: exit code {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
    return done.returncode


def _import(candles: Path, project: Path, source: Source, timerange: str, data: Path) -> None:
    for timeframe in source.timeframes:
        resample = [] if timeframe == source.timeframes[0] else ["--resample"]
        file = str((candles / source.file).resolve())
        dataset = f"{source.pair}/{timeframe}"
        run(project, "data", "import", file, "--dataset", dataset, "--timerange", timerange, *resample, data=data)


def _with_timeframes(text: str, source: Source) -> str:
    """The curriculum with a line for each timeframe of a pair in place of the one for H1."""
    line = re.compile(rf'^(  \{{ dataset = "{re.escape(source.pair)}/)H1(".*\n)', re.MULTILINE)
    return line.sub(lambda found: "".join(f"{found[1]}{name}{found[2]}" for name in source.timeframes), text)
