"""A best_params.json of a made winner."""

import json
from pathlib import Path

BTC = "coinbase/BTC-USD/H1"
PARAMETERS = {"fast": 5, "slow": 20, "atr_period": 14, "stop_atr": 2.0, "target_atr": 3.0}


def winner_fields(**changes: object) -> dict[str, object]:
    """The fields of a winner on January and February 2021."""
    days = {"train": "20210101-20210201", "validation": "20210202-20210214", "test": "20210215-20210301"}
    dataset = {"dataset": BTC, "warm_up_bars": 60, **days, "candles": "d", "start": "2021-01-01", "end": "2021-03-01"}
    given: dict[str, object] = {"run": "r1", "level": "1", "attempt": 1, "trial": 3, "strategy": "sma_cross"}
    given |= {"direction": "both", "parameters": PARAMETERS, "position_fraction": 0.2, "costs": {}, "code": "c"}
    return given | {"datasets": [dataset]} | changes


def write_winner(path: Path = Path("best_params.json"), **changes: object) -> str:
    """Write the file and return its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(winner_fields(**changes)))
    return str(path)
