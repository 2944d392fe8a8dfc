"""The results of the runs as a page of docs, from `report.json` of each run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optimizer.level.spec import Level

Report = Mapping[str, Any]
HEAD = """\
# Results on real candles

What the four levels say about each built-in strategy on real candles. `./scripts/bench strategies --data FOLDER`
imports the candles, writes the curriculum with `init`, runs `optimize run --strategy NAME` for each strategy and writes
this page from the `report.json` of each run. Nothing is chosen by hand after a run.
"""
NOTES = """\
Sharpe ratios are annualised and after costs, with 95 % intervals of the stationary bootstrap. Out of sample: the
account of the examined level on days that its search did not read; before there is one, the account that a gate read.
Holdout period: the days that no level reads, opened once at the end of a run. The p-value is that of no skill, from out
of sample and holdout period. A dash means that the run did not come that far. Trials are those of all attempts; the
windows of a walk-forward are searched in addition. The windows of levels 1 and 2 are bull and bear markets found by
rule with hindsight, so a Sharpe ratio there says nothing about other markets."""
SUMMARY = (
    *("strategy", "levels passed", "Sharpe ratio out of sample", "Sharpe ratio on the holdout period", "p-value"),
    *("first gate missed", "recommendation", "trials", "seconds"),
)
BY_LEVEL = (
    *("level", "passed", "attempts", "trials", "Sharpe ratio", "win rate", "drawdown", "profit factor"),
    *("test Sharpe ratio", "parameters"),
)
SHOWN = ("sharpe", "win_rate", "max_drawdown_intrabar", "profit_factor")


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyRun:
    """A finished run of one strategy."""

    strategy: str
    report: Report
    seconds: float | None
    """Wall time of the command; None for a run that was resumed."""


def results_page(runs: Sequence[StrategyRun], levels: Sequence[Level], about: Mapping[str, str]) -> str:
    """The page: what was run, the table of strategies, and the levels of each."""
    parts = [
        HEAD,
        *_data_lines(levels),
        "",
        *(f"- {name}: {value}" for name, value in about.items()),
        "",
        "## Strategies",
        "",
    ]
    parts += [*_summary(runs), "", NOTES]
    for each in runs:
        parts += ["", f"## {each.strategy}", "", *_recommendation(each.report), "", *_levels(each.report)]
    return "\n".join(parts) + "\n"


def _data_lines(levels: Sequence[Level]) -> Iterator[str]:
    yield from _head(("level", "datasets", "windows", "trials", "retries"))
    for level in levels:
        named: dict[str, list[str]] = {}
        windows = {}
        for each in level.datasets:
            instrument, _, timeframe = each.dataset.rpartition("/")
            named.setdefault(instrument, []).append(timeframe)
            windows[instrument] = f"{each.start}..{each.end}"
        datasets = ", ".join(f"{name} {' '.join(frames)}" for name, frames in named.items())
        spans = ", ".join(dict.fromkeys(windows.values()))
        yield f"| {level.name} {level.title} | {datasets} | {spans} | {level.trials} | {level.retries} |"
    yield ""
    yield f"Holdout period: {levels[0].holdout.window}, end excluded. Costs: {levels[0].costs.sentence}."


def _summary(runs: Sequence[StrategyRun]) -> Iterator[str]:
    yield from _head(SUMMARY)
    for each in runs:
        levels, said = each.report["levels"], each.report["recommendation"]
        passed = [level["level"] for level in levels if level["passed"]]
        trials = sum(level["finished"] for level in levels)
        evidence = each.report.get("evidence") or {}
        cells = (
            *(f"`{each.strategy}`", ", ".join(passed) or "none", out_of_sample(each.report), _holdout(evidence)),
            *(_p_value(each.report), _missed(levels), _words(said["action"]), f"{trials:,}", _seconds(each)),
        )
        yield f"| {' | '.join(cells)} |"


def out_of_sample(report: Report) -> str:
    """Sharpe ratio of the examined account; without evidence that of the last winner on validation."""
    skill = (report.get("evidence") or {}).get("out_of_sample")
    if skill:
        return _interval(skill["sharpe"], skill["sharpe_low"], skill["sharpe_high"])
    for level in reversed(report["levels"]):
        if sharpe := _reading(level["gate"], "sharpe"):
            return f"{_interval(sharpe['value'], sharpe['low'], sharpe['high'])} (gate of level {level['level']})"
    return "-"


def _holdout(evidence: Mapping[str, Any]) -> str:
    found = evidence.get("holdout")
    sharpe = _reading(found["readings"], "sharpe") if found else None
    return _interval(sharpe["value"], sharpe["low"], sharpe["high"]) if sharpe else "-"


def _seconds(run: StrategyRun) -> str:
    return "-" if run.seconds is None else f"{run.seconds:,.0f}"


def _p_value(report: Report) -> str:
    """The p-value of no skill, out of sample and holdout period combined."""
    value = (report["recommendation"].get("skill") or {}).get("p")
    return "-" if value is None else f"{value:.3f}"


def _missed(levels: Sequence[Report]) -> str:
    """The first missed gate, with its criteria; without a winner the reason."""
    for level in levels:
        if level["passed"] or not level["attempts"]:
            continue
        missed = [_criterion(each) for each in level["gate"] if not each["met"]]
        return f"level {level['level']}: {', '.join(missed) or level['reason']}"
    return "none"


def _criterion(found: Mapping[str, Any]) -> str:
    return f"{found['name']} {_number(found['value'])} (target {found['sign']} {found['target']:g})"


def _recommendation(report: Report) -> Iterator[str]:
    said = report["recommendation"]
    yield f"**{_words(said['action'])}** ({said['rule']}): {said['reason']}."
    if sentence := (said.get("skill") or {}).get("sentence"):
        yield ""
        yield f"Evidence of skill: {sentence}."
    if lines := said.get("would_change"):
        yield ""
        yield "What would change the recommendation:"
        yield ""
        yield from (f"- {line}" for line in lines)


def _levels(report: Report) -> Iterator[str]:
    yield from _head(BY_LEVEL)
    for level in report["levels"]:
        gate = [_reading(level["gate"], name) for name in SHOWN]
        cells = [_interval(each["value"], each["low"], each["high"]) if each else "-" for each in gate]
        test = ((level["metrics"] or {}).get("test") or {}).get("sharpe")
        chosen = (
            ", ".join(f"{name} {value:g}" for name, value in (level["parameters"] or {}).items()) or level["reason"]
        )
        passed = "yes" if level["passed"] else "no" if level["attempts"] else "not run"
        head = f"| {level['level']} | {passed} | {level['attempts'] or 0} | {level['finished'] or 0:,} |"
        yield f"{head} {' | '.join(cells)} | {_number(test)} | {chosen or '-'} |"


def _head(names: Sequence[str]) -> Iterator[str]:
    yield f"| {' | '.join(names)} |"
    yield "|---" * len(names) + "|"


def _reading(gate: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any] | None:
    return next((each for each in gate if each["name"] == name), None)


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    return _number(value) if low is None else f"{_number(value)} [{_number(low)}, {_number(high)}]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _words(action: str) -> str:
    return action.replace("_", " ")
