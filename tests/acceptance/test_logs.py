"""Log lines of a run carry their context: run, level, trial, dataset and worker."""

import json
from collections import defaultdict

STRATEGY = """
from optimizer.strategies.built_in.sma_cross import STRATEGY as CROSS


class Picky:
    name, parameters, warm_up, repair = "picky", CROSS.parameters, CROSS.warm_up, CROSS.repair

    def signals(self, candles, parameters, direction):
        if parameters["fast"] > 18:
            raise ValueError("too slow for me")
        return CROSS.signals(candles, parameters, direction)


STRATEGY = Picky()
"""
CURRICULUM = """
[[level]]
name = "1"
title = "Made"
direction = "both"
strategy = "picky:STRATEGY"
trials = 8
lag = 4
datasets = [{ dataset = "coinbase/BTC-USD/M5", start = 2023-01-01, end = 2023-01-22 }]
gate = { win_rate = 0.0, sharpe = -99, max_drawdown_intrabar = 1.0, profit_factor = 0.01 }
min_trades = { train = 1, validation = 1 }
drawdown_limit = 1.0
ranges = { fast = [3, 20], slow = [10, 40], atr_period = [5, 20], stop_atr = [1.0, 4.0], target_atr = [1.0, 6.0] }
retries = 0
"""


def test_every_log_line_names_its_context(fetched) -> None:
    (fetched.folder / "picky.py").write_text(STRATEGY)
    (fetched.folder / "picky.toml").write_text(CURRICULUM)
    options = ("--curriculum", "picky.toml", "--seed", "7", "-j", "1", "--run", "told")

    done = fetched.run("-v", "--log-format", "json", "optimize", "run", *options)

    told: dict[str, list[dict[str, object]]] = defaultdict(list)
    for line in done.stderr.splitlines():
        if line.startswith("{"):
            found = json.loads(line)
            told[found["action"]].append(found)
    assert done.returncode == 0, done.stderr
    assert [line["run"] for line in told["run_started"]] == ["told"]
    assert [(line["run"], line["level"]) for line in told["level_started"]] == [("told", "1")]
    assert [line["run"] for line in told["run_finished"]] == ["told"]
    worker = told["worker_started"][0]["worker"]
    about = {"run": "told", "level": "1", "worker": worker}
    assert [{name: line[name] for name in about} for line in told["job_done"]] == [about] * 8
    assert sorted(line["trial"] for line in told["job_done"]) == list(range(8))
    assert told["trial_failed"], "the table of this seed has a trial that raises"
    for line in told["trial_failed"]:
        assert {name: line[name] for name in about} == about
        assert line["dataset"] == "coinbase/BTC-USD/M5"
        assert "ValueError: too slow for me" in str(line["exception"])
    shown = fetched.run("optimize", "show", "told", str(told["trial_failed"][0]["trial"]))
    assert "ValueError: too slow for me, on coinbase/BTC-USD/M5" in shown.stdout
