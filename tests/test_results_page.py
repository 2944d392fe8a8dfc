"""The page of results on real candles shows what the reports of the runs hold, and a missing folder is said."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from optimizer.curriculum.level_files import load_levels

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "benchmarks" / "strategies"


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module that writes the page."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import page

    return page


def reading(name: str, value: float, target: float, sign: str, *, met: bool) -> dict[str, object]:
    low, high = value - 1, value + 1
    return {"name": name, "value": value, "target": target, "sign": sign, "met": met, "low": low, "high": high}


GATE = [
    reading("win_rate", 0.6, 0.5, ">=", met=True),
    reading("sharpe", 1.25, 0.8, ">=", met=True),
    reading("max_drawdown_intrabar", 0.22, 0.15, "<=", met=False),
    reading("profit_factor", 1.4, 1.3, ">=", met=True),
]


def report(evidence: dict[str, object] | None, skill: dict[str, object] | None = None) -> dict[str, object]:
    judged = {
        "level": "1",
        "passed": False,
        "attempts": 4,
        "finished": 813,
        "reason": "missed on validation: max_drawdown_intrabar",
        "gate": GATE,
        "metrics": {"test": {"sharpe": 0.5}},
        "parameters": {"lookback": 72, "width": 2.5},
    }
    never = {"level": "2", "passed": False, "attempts": 0, "finished": 0, "reason": "not reached", "gate": []}
    said: dict[str, object] = {"action": "do_not_deploy", "rule": "mandate missed", "reason": "gate of level 1"}
    if skill:
        said |= {"skill": skill, "would_change": ["skill: 7 more months"]}
    levels = [judged, {**never, "metrics": None, "parameters": None}]
    return {"levels": levels, "recommendation": said, "evidence": evidence}


def test_a_run_that_ended_early_shows_its_validation_and_its_gate(page: Any) -> None:
    text = page.results_page(
        [page.StrategyRun(strategy="momentum", report=report(None), seconds=61.4)], load_levels(), {"seed": "7"}
    )

    assert (
        "| `momentum` | none | 1.25 [0.25, 2.25] (gate of level 1) | - | - | "
        "level 1: max_drawdown_intrabar 0.22 (target <= 0.15) | do not deploy | 813 | 61 |"
    ) in text
    assert (
        "| 1 | no | 4 | 813 | 1.25 [0.25, 2.25] | 0.60 [-0.40, 1.60] | 0.22 [-0.78, 1.22] | 1.40 [0.40, 2.40] | 0.50 | "
        "lookback 72, width 2.5 |"
    ) in text
    assert "| 2 | not run | 0 | 0 | - | - | - | - | - | not reached |" in text
    assert "**do not deploy** (mandate missed): gate of level 1." in text
    assert "coinbase/BTC-USD M5 M15 H1" in text


def test_the_evidence_of_a_run_replaces_its_validation(page: Any) -> None:
    evidence = {
        "out_of_sample": {"sharpe": 0.9, "sharpe_low": -0.1, "sharpe_high": 1.9},
        "holdout": {"readings": [reading("sharpe", 0.7, 0.8, ">=", met=False)]},
    }
    found = report(evidence, {"p": 0.0321, "sentence": "out of sample t = 1.90"})
    text = page.results_page(
        [page.StrategyRun(strategy="momentum", report=found, seconds=5)], load_levels(), {"seed": "7"}
    )

    assert "| `momentum` | none | 0.90 [-0.10, 1.90] | 0.70 [-0.30, 1.70] | 0.032 |" in text
    assert "Evidence of skill: out of sample t = 1.90." in text
    assert "- skill: 7 more months\n" in text


def test_without_candles_nothing_is_run_and_the_files_are_named(tmp_path: Path) -> None:
    command = [sys.executable, str(FOLDER / "run.py"), "--data", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)

    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("skipped: binance_BTC-USDT_5m.parquet, binance_ETH-USDT_5m.parquet, ")
    assert not list(tmp_path.iterdir())
