"""Regime-aware parameter sets: whether parameters chosen by trend regime beat a single set out of sample.

For each trend regime, the trial of the search is chosen whose account has the highest Sharpe ratio on train if it
enters in that regime alone. The sets then trade one account in turn (see `optimizer.objective.set_rotation`). Labels
use closes of earlier days only. The gain is measured out of sample against what the level traded there, on the same
days, with a paired bootstrap interval; the choice by regime is adopted only if the lower limit is above zero. Each
choice of a set among trials by regime counts as a further trial in the deflated Sharpe ratio.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from optimizer.bars.preparation import Prepared
from optimizer.level.spec import Direction, Level, Part
from optimizer.objective import metrics
from optimizer.objective.choices import trade_choices
from optimizer.objective.metrics import DAYS_A_YEAR
from optimizer.objective.portfolio import Portfolio, portfolio
from optimizer.objective.trial_result import finite_or_none, rounded
from optimizer.strategies.protocol import BarStrategy, load, repaired
from optimizer.strategies.trade_management import TradeManagement
from optimizer.validation.analyses.regime_choice import (
    MAX_CANDIDATES,
    TRENDS,
    ChosenSets,
    Labels,
    RegimeSearch,
    candidates_of,
    choose_sets,
    min_trades_of,
    places_of,
)
from optimizer.validation.statistics.paired_difference import PairedDifference, paired_differences
from optimizer.validation.statistics.sharpe import ReturnMoments, deflated_sharpe, per_period

ONE_SET, BY_REGIME = "one parameter set", "parameter sets by regime"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gain:
    """Both accounts on the same days out of sample."""

    part: Part
    single: Mapping[str, float]
    sets: Mapping[str, float]
    days: int
    differences: Mapping[str, PairedDifference]

    @property
    def sharpe(self) -> PairedDifference | None:
        """Gain in Sharpe ratio; None without an interval."""
        found = self.differences.get("sharpe")
        return found if found and math.isfinite(found.low) else None

    def as_json(self) -> dict[str, object]:
        """Return metrics of both accounts, and their differences with intervals."""
        return {
            "part": self.part.value,
            "days": self.days,
            "single": {name: finite_or_none(value) for name, value in self.single.items()},
            "sets": {name: finite_or_none(value) for name, value in self.sets.items()},
            "differences": {
                name: {limit: finite_or_none(rounded(getattr(found, limit))) for limit in ("value", "low", "high")}
                for name, found in self.differences.items()
            },
        }


def regime_sets(level: Level, searches: Sequence[RegimeSearch], labels: Labels, seed: int) -> dict[str, object]:
    """Return the comparison of parameters by regime with the single set; `labels`: by dataset name.

    `searches`: those of the windows of a walk-forward in order, and last the level's own.
    """
    if reason := _unavailable(level, searches):
        return {**_definition(level), "available": False, "adopted": False, "conclusion": ONE_SET, "reason": reason}
    chosen = [choose_sets(level, search, labels) for search in searches]
    gain = _compared(level, chosen, Part.VALIDATION, seed)
    adopted = gain is not None and gain.sharpe is not None and gain.sharpe.low > 0
    test = _compared(level, chosen, Part.TEST, seed)
    added = sum(each.candidates for each in chosen) * len(TRENDS)
    return {
        **_definition(level),
        "available": True,
        "adopted": adopted,
        "conclusion": BY_REGIME if adopted else ONE_SET,
        "reason": _reason(gain.sharpe if gain else None, adopted=adopted),
        "sets": {trend.value: found.as_json() for trend, found in chosen[-1].by_trend.items()},
        "size": chosen[-1].size,
        "train_bars": _shares(chosen[-1].search.train, labels),
        "windows": [
            {
                "window": each.search.number,
                "size": each.size,
                "sets": {trend.value: found.as_json() for trend, found in each.by_trend.items()},
            }
            for each in chosen[:-1]
        ],
        "out_of_sample": gain.as_json() if gain else None,
        "test": test.as_json() if test else None,
        "added_trials": added,
        "deflated_sharpe": _deflated(level, chosen, added),
    }


def _definition(level: Level) -> dict[str, object]:
    return {
        "regimes": [trend.value for trend in TRENDS],
        "candidates": MAX_CANDIDATES,
        "min_trades": min_trades_of(level),
        "rule": (
            "each regime takes the trial with the highest Sharpe ratio on train with entries in that regime alone, "
            f"among the {MAX_CANDIDATES} best feasible ones with at least {min_trades_of(level)} trades there, else "
            "the single set; adopted if the lower limit of the 95 % interval of the gain in Sharpe ratio is above zero"
        ),
        "winner": "the run's winner and its gate stay those of one parameter set",
    }


def _unavailable(level: Level, searches: Sequence[RegimeSearch]) -> str | None:
    if level.direction is not Direction.BOTH:
        return f"the level trades {level.direction} only; sets by regime are for levels with both directions"
    strategy = load(level.strategy)
    if isinstance(strategy, BarStrategy):
        return "the strategy decides bar by bar, so its entries cannot be limited to a regime"
    parameters = [trial.params for search in searches for trial in candidates_of(search)]
    if any(TradeManagement.of(repaired(strategy, each)).position_units > 0 for each in parameters):
        return "positions have fixed units, so the sets' accounts do not multiply"
    return None


def _compared(level: Level, chosen: Sequence[ChosenSets], part: Part, seed: int) -> _Gain | None:
    """Return both accounts on a part out of sample; None if no search has it."""
    judged = [each for each in chosen if part in each.judged]
    if not judged:
        return None
    singles = [run for each in judged for run in trade_choices(level, each.search.judged[part], [each.search.single])]
    runs = [run for each in judged for run in each.judged[part]]
    found = paired_differences(portfolio(singles), portfolio(runs), seed)
    return _Gain(
        part=part,
        single=metrics.figures(singles),
        sets=metrics.figures(runs),
        days=found.days if found else 0,
        differences=found.by_metric if found else {},
    )


def _deflated(level: Level, chosen: Sequence[ChosenSets], added: int) -> dict[str, object]:
    """Return the DSR on train of the single set and of the sets by regime; the latter count the added trials."""
    last, counted = chosen[-1].search, list(chain.from_iterable(each.search.trials for each in chosen))
    trials = sum(trial.state is not TrialState.FAIL for trial in counted)
    ratios = [each for trial in last.trials if trial.state is TrialState.COMPLETE for each in _ratio(trial)]
    variance = float(np.var(ratios, ddof=1)) if len(ratios) > 1 else math.nan
    accounts = {
        "single": (portfolio(trade_choices(level, last.train, [last.single])), trials),
        "sets": (portfolio(chosen[-1].train), trials + added),
    }
    return {name: _deflate(account, variance, count) for name, (account, count) in accounts.items()}


def _deflate(account: Portfolio, variance: float, trials: int) -> dict[str, object]:
    moments = ReturnMoments.of(account.returns)
    return {
        "sharpe": finite_or_none(rounded(metrics.sharpe(account.returns))),
        "trials": trials,
        "probability": finite_or_none(rounded(deflated_sharpe(moments, variance, trials))),
    }


def _ratio(trial: FrozenTrial) -> Iterator[float]:
    """Yield the Sharpe ratio per day of a complete trial on train, if it is defined."""
    found = trial.user_attrs["metrics"]["sharpe"]
    if found is not None:
        yield per_period(found, DAYS_A_YEAR)


def _shares(prepared: Sequence[Prepared], labels: Labels) -> dict[str, float]:
    """Return the share of the judged bars of train in each regime."""
    places = np.concatenate([places_of(labels[bars.dataset.name], bars)[bars.first_evaluated :] for bars in prepared])
    counts = np.bincount(places, minlength=len(TRENDS) + 1) / max(1, len(places))
    return dict(zip((*(trend.value for trend in TRENDS), "unlabelled"), counts.tolist(), strict=True))


def _reason(gain: PairedDifference | None, *, adopted: bool) -> str:
    if gain is None:
        return "the gain has no interval: an account does not move out of sample"
    interval = f"95 % interval {gain.low:.2f} to {gain.high:.2f}"
    side = "above" if adopted else "not above"
    return f"the gain in Sharpe ratio out of sample is {gain.value:.2f} ({interval}): its lower limit is {side} zero"
