"""Measure the backtest's targets on this machine: `python benchmarks/backtest/run.py [--quick]`.

Peers run side by side with ours, each in an environment below ~/.cache/tradeschool-bench that is made on the first run,
which takes the network. What is compared runs in turn, round after round, and the median counts. Seconds are those of
the processor, since all of it is single-threaded work that waits for nothing; they are this machine's, ratios travel
further. The candles are described in candles.py.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "fetch"))
sys.path.insert(0, str(Path(__file__).parent))

import bag
import candles
import parity
from side import BACKTESTING, BACKTRADER, NAUTILUS, PEERS, VECTORBT, Peer
from table import Row, machine, markdown, write

from optimizer.backtest.costs import CostRates
from optimizer.backtest.engine import warm_up_bars
from optimizer.backtest.entries import Entries
from optimizer.backtest.kernel import trade
from optimizer.backtest.reference import replay
from optimizer.backtest.result import TradingRules
from optimizer.bars.preparation import Prepared, prepare
from optimizer.bars.slicing import head
from optimizer.level.level_dataset import LevelDataset
from optimizer.level.spec import Direction, Gate, Level
from optimizer.objective.metrics import summarise
from optimizer.objective.objective import evaluate
from optimizer.validation.statistics.bootstrap import interval, sharpe_ratios
from optimizer.validation.statistics.overfitting import overfitting
from tradeschool.markets.catalogue import find_dataset

BTC = "coinbase/BTC-USD/M5"
RULES = TradingRules(direction=Direction.BOTH, rates=CostRates(fee=5e-4, slippage=2e-4))
SLOW_BARS = 20_000
"""Bars for peers that take tens of microseconds a bar."""
OUR_RUNS = 20
"""Of ours in each pair: one takes a few milliseconds, a peer's seconds."""


def main() -> None:
    """Print the table and write both files."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="Fewer rounds.")
    is_quick = options.parse_args().quick
    about = machine() | {"candles": "real, see candles.py" if candles.is_real() else "made up"}
    for peer in PEERS:
        about[f"peer {peer.name}"] = peer.install()
    began = time.monotonic()
    rounds = 4 if is_quick else 7
    arrays = candles.catalogue()
    prepared = [
        prepare(each, candles.WINDOW, warm_up_bars(bag.SMA, bag.RANGES, each.dataset.timeframe), (7, 28))
        for each in arrays
    ]
    btc = next(each for each in prepared if each.dataset == find_dataset(BTC))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, part in {
            "peers": lambda: _peers(btc, Path(folder), rounds),
            "kernel": lambda: _kernel(btc, 20),
            "trial": lambda: _trial(prepared, [each.close for each in arrays], 20, rounds),
            "start": lambda: _start(arrays, Path(folder), rounds),
            "statistics": lambda: _statistics(rounds),
        }.items():
            print(f"measuring {name}", file=sys.stderr)
            rows += part()
    about["took"] = f"{time.monotonic() - began:.0f} s; load at the end {os.getloadavg()[0]:.1f}"
    print(markdown(rows, about))
    print(f"written to {write(rows, about, 'backtest')} and beside it as JSON")


def _ours(prepared: Prepared) -> float:
    """Seconds of everything, signals to metrics: the mean of some runs, since each is short."""
    began = time.process_time()
    for _ in range(OUR_RUNS):
        summarise([trade(prepared, bag.entries_of(prepared, bag.USUAL), RULES)])
    return (time.process_time() - began) / OUR_RUNS


def _peers(btc: Prepared, folder: Path, rounds: int) -> list[Row]:
    small = head(btc, SLOW_BARS)
    return [
        *_peer(1, BACKTESTING, btc, folder, max(4, rounds - 3), 2_000, "whole"),
        *_peer(2, VECTORBT, btc, folder, max(7, rounds), 60, "whole"),
        *_peer(3, BACKTRADER, small, folder, 3, 20_000, "small", ours=btc),
        *_peer(3, NAUTILUS, small, folder, 3, 20_000, "small", ours=btc),
    ]


def _peer(
    target: int,
    peer: Peer,
    given: Prepared,
    folder: Path,
    pairs: int,
    wanted: int,
    size: str,
    ours: Prepared | None = None,
) -> list[Row]:
    """The ratio a bar of interleaved pairs, and how many of our trades the peer made, too."""
    entries, task, mine = bag.entries_of(given, bag.USUAL), folder / f"{size}.npz", ours or given
    bag.write_task(given, entries, task)
    with peer.at(task) as work:
        work.seconds()  # compiles what it compiles
        _ours(mine)
        taken = [(work.seconds() / len(given), _ours(mine) / len(mine)) for _ in range(pairs)]
        theirs = work.trades()
    ratio = statistics.median(their / our for their, our in taken)
    figures = f"{statistics.median(their for their, _ in taken) * 1e9:,.0f} and "
    figures += f"{statistics.median(our for _, our in taken) * 1e9:.2f} ns per bar"
    rows = [
        Row(
            target=target,
            what=f"{peer.name} / ours, {len(given):,} bars, {pairs} pairs",
            wanted=f">= {wanted:,}",
            reached=f"{ratio:,.0f} ({figures})",
            met=ratio >= wanted,
        )
    ]
    if "exit_bar" in theirs:
        rows.append(_parity_row(target, peer, given, entries, theirs))
    return rows


def _parity_row(target: int, peer: Peer, given: Prepared, entries: Entries, theirs: parity.Columns) -> Row:
    found = parity.compare(given, entries, theirs)
    unlisted = f", unlisted at bars {found.differences[:3]}" if found.differences else ""
    is_exact = peer is BACKTESTING
    return Row(
        target=target,
        what=f"trades of ours equal in {peer.name} (bars, side, prices, net to 1e-9)",
        wanted="all" if is_exact else "all but the listed differences",
        reached=f"{found.equal:,} of {found.ours:,}; {found.explained} listed, {found.refused} refused{unlisted}",
        met=not found.differences if peer in (BACKTESTING, VECTORBT) else None,
    )


def _kernel(btc: Prepared, sets: int) -> list[Row]:
    """The event kernel beside the plain loop, the signals found before."""
    ratios, identical = [], 0
    for parameters in bag.draw(sets, seed=7):
        entries = bag.entries_of(btc, parameters)
        times: dict[Callable[..., object], list[float]] = {trade: [], replay: []}
        runs = {}
        for _ in range(3):
            for engine, taken in times.items():
                began = time.process_time()
                runs[engine] = engine(btc, entries, RULES)
                taken.append(time.process_time() - began)
        fast, plain = runs[trade], runs[replay]
        identical += int(fast.trades.tolist() == plain.trades.tolist() and bool((fast.equity == plain.equity).all()))
        ratios.append(min(times[replay]) / min(times[trade]))
    ratio = statistics.median(ratios)
    return [
        Row(
            target=4,
            what=f"plain loop / event kernel, {sets} random sets, {len(btc):,} bars",
            wanted=">= 2.5, identical",
            reached=f"{ratio:.1f}, {identical} of {sets} identical",
            met=bool(ratio >= 2.5 and identical == sets),
        )
    ]


def _trial(prepared: list[Prepared], closes: list[np.ndarray], sets: int, rounds: int) -> list[Row]:
    level = Level(
        name="b",
        title="Both ways",
        direction=Direction.BOTH,
        trials=1,
        drawdown_limit=1.0,
        datasets=tuple(
            LevelDataset(dataset=each.dataset.name, start=date(2020, 1, 1), end=date(2024, 1, 1)) for each in prepared
        ),
        gate=Gate(win_rate=0.5, sharpe=0.8, max_drawdown_intrabar=0.15, profit_factor=1.3),
        ranges=bag.RANGES,
    )
    bars = sum(map(len, prepared))
    drawn = bag.draw(sets, seed=3)
    evaluate(level, prepared, drawn[0], [])
    reading, trials = [], []
    for parameters in drawn:
        pairs = []
        for _ in range(rounds):
            began = time.process_time()
            for close in closes:
                close.sum()
            middle = time.process_time()
            evaluate(level, prepared, parameters, [])
            pairs.append((middle - began, time.process_time() - middle))
        reading.append(min(column for column, _ in pairs))
        trials.append(min(trial for _, trial in pairs))
    column, trial = statistics.median(reading), statistics.median(trials)
    taken = f"{trial * 1e3:.1f} and {column * 1e3:.2f} ms, {trial / bars * 1e9:.1f} ns per bar"
    return [
        Row(
            target=5,
            what=f"a trial over 12 datasets, {bars:,} bars, median of {sets} random sets / reading a column",
            wanted="<= 17",
            reached=f"{trial / column:.1f} ({taken})",
            met=trial / column <= 17,
        )
    ]


def _start(arrays: list, folder: Path, rounds: int) -> list[Row]:
    stored = folder / "arrays"
    stored.mkdir()
    for each in arrays:
        np.savez(stored / f"{each.dataset.name.replace('/', '_')}.npz", time=each.time, **each.numbers)
    cold = _started({"NUMBA_CACHE_DIR": str(folder / "cold")})
    warm = statistics.median(_started({})[0] for _ in range(max(3, rounds // 2)))
    _, memory, size = _started({}, str(stored))
    return [
        Row(
            target=6,
            what="worker start to end of first trial, with and without compiled code",
            wanted="<= 0.6 s, <= 3 s",
            reached=f"{warm:.2f} s, {cold[0]:.2f} s",
            met=warm <= 0.6 and cold[0] <= 3,
        ),
        Row(
            target=7,
            what="arrays of 12 datasets including ATRs of 22 periods; memory of a worker",
            wanted="<= 80 MB, <= 300 MB",
            reached=f"{size:.0f} MB, {memory:.0f} MB",
            met=size <= 80 and memory <= 300,
        ),
    ]


def _started(environment: dict[str, str], *words: str) -> tuple[float, float, float]:
    program = [sys.executable, str(Path(__file__).parent / "programs" / "start.py"), *words]
    told = subprocess.run(program, env=os.environ | environment, check=True, capture_output=True, text=True).stdout
    seconds, memory, size = map(float, told.split())
    return seconds, memory, size


def _statistics(rounds: int) -> list[Row]:
    random = np.random.default_rng(1)
    trials, returns = random.normal(0, 0.01, (1_461, 300)).astype(np.float32), random.normal(0.001, 0.01, 1_461)
    pbo = statistics.median(_timed(lambda: overfitting(trials)) for _ in range(rounds))
    bootstrap = statistics.median(_timed(lambda: interval(returns, sharpe_ratios, 7)) for _ in range(rounds))
    return [
        Row(
            target=8,
            what="PBO of 300 trials, S=16, and a bootstrap of 10,000 x 1,461 days",
            wanted="<= 1.2 s, <= 0.5 s",
            reached=f"{pbo:.2f} s, {bootstrap:.2f} s",
            met=pbo <= 1.2 and bootstrap <= 0.5,
        )
    ]


def _timed(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


if __name__ == "__main__":
    main()
