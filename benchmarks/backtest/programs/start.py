"""A worker's start: seconds of processor time to the end of a first trial; with a folder of arrays also its memory."""

import sys
import time
from pathlib import Path

import numpy as np

from optimizer.objective.warm_up import precompile

precompile()
seconds = time.process_time()
memory, size = 0.0, 0
if len(sys.argv) > 1:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    import bag

    from optimizer.backtest.engine import run_strategy, warm_up_bars
    from optimizer.backtest.result import TradingRules
    from optimizer.bars.preparation import prepare
    from optimizer.level.costs import Costs
    from optimizer.level.spec import Direction
    from optimizer.strategies.protocol import repaired
    from optimizer.strategies.trade_management import TradeManagement
    from tradeschool.markets.catalogue import find_dataset
    from tradeschool.markets.windows import Window
    from tradeschool.ohlcv.arrays import CandleArrays

    parameters = repaired(bag.SMA, bag.USUAL)
    ready = []
    for path in sorted(Path(sys.argv[1]).glob("*.npz")):
        numbers = dict(np.load(path))
        time_ = numbers.pop("time")
        dataset = find_dataset(path.stem.replace("_", "/"))
        window = Window.of_seconds(int(time_[0]) // 86_400 * 86_400, int(time_[-1]) + 86_400)
        bars = warm_up_bars(bag.SMA, bag.RANGES, dataset.timeframe)
        ready.append(prepare(CandleArrays.of(dataset, time_, numbers), window, bars, (7, 28)))
        rules = TradingRules.of(Direction.BOTH, Costs(), 1.0, dataset, TradeManagement.of(parameters))
        run_strategy(bag.SMA, ready[-1], parameters, rules)
    del numbers
    status = Path("/proc/self/status").read_text().splitlines()
    memory = next(int(line.split()[1]) / 1e3 for line in status if line.startswith("VmRSS"))
    fields = ready[0].__dataclass_fields__
    size = sum(
        getattr(each, name).nbytes for each in ready for name in fields if hasattr(getattr(each, name), "nbytes")
    )
print(seconds, memory, size / 1e6)
