"""The results with and without numba have equal bits."""

import os
import subprocess
import sys
from pathlib import Path

from optimizer.compilation.jit import is_compiled, njit

PROGRAM = """
import sys
if sys.argv[1] == "plain":
    sys.modules["numba"] = None
from optimizer.backtest.costs import CostRates
from optimizer.backtest.entries import find_entries
from optimizer.backtest.kernel import trade
from optimizer.backtest.reference import replay
from optimizer.backtest.result import TradingRules
from optimizer.compilation.jit import is_compiled
from optimizer.level.spec import Direction
from tests.factories.candles import EUR, random_prepared
from tests.factories.backtests import COSTS, SMA
assert is_compiled() == (sys.argv[1] == "compiled")
for seed in range(4):
    prepared = random_prepared(seed, 600, warm_up=45, dataset=EUR)
    parameters = {"fast": 3, "slow": 12, "atr_period": 9, "stop_atr": 1.3, "target_atr": 2.1}
    entries = find_entries(SMA, prepared, parameters, Direction.BOTH)
    for engine in (replay, trade):
        run = engine(prepared, entries, TradingRules(direction=Direction.BOTH, rates=COSTS[1]))
        assert len(run.trades) > 20
        print(run.trades.tolist(), run.equity.tolist(), run.lows.tolist(), run.max_intrabar_drawdown, run.stopped)
"""


def outcome(kind: str) -> str:
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, kind],
        cwd=root,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout


def test_results_without_numba_have_equal_bits():
    assert outcome("plain") == outcome("compiled")


def test_a_compiled_function_is_cached_on_disk():
    @njit
    def twice(number: int) -> int:
        return number * 2

    assert is_compiled()
    assert twice(4) == 8
    assert twice.stats.cache_path  # type: ignore[attr-defined]
