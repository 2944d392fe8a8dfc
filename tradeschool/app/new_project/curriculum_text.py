"""A drafted curriculum as a commented TOML file."""

from collections.abc import Sequence

from optimizer.level.cost_presets import PRESETS
from optimizer.level.level_dataset import LevelDataset
from optimizer.level.spec import Level
from tradeschool.app.new_project.curriculum_draft import HOLDOUT_SHARE, MAX_HOLDOUT_DAYS, Draft
from tradeschool.app.new_project.toml_values import toml_value

HEAD = """\
# Curriculum of {pairs}: four levels, searched in order.
# Written by: {command}
# All fields: docs/reference/curriculum-file.md. What they do: docs/explanation/curriculum.md.
#
#   tradeschool fetch --holdout --curriculum {file}     downloads the holdout period
#   tradeschool optimize plan --curriculum {file}       shows datasets, windows, costs and bars
#   tradeschool optimize run --curriculum {file}        searches the levels

# Days that no search reads; opened once, at the end of a run. Here the last {share:.0%} of the days that all datasets
# have, at most {days} days. end = "settled" means the last settled day.
holdout = {{ start = {holdout.start}, end = {holdout.end} }}
"""
COMMENTS = {
    "strategy": "or module:NAME",
    "lag": "trial n is sampled after trials 0..n-lag have finished",
    "mode": "lagged: the same trials for any number of workers; async: not reproducible",
    "objective": "or another measure, module:NAME, or a list of them: docs/explanation/search.md",
    "sampler": "random, qmc, cmaes, gp, nsgaii, or module:NAME",
    "pruner": "percentile, hyperband, none",
    "split": 'train of the first window as a share of the days; or scheme = "single": docs/explanation/curriculum.md',
    "gate": "targets on validation",
    "min_trades": "closed trades",
    "position_fraction": "notional of a position as a share of the equity",
    "risk": "each account is sized to it on train; or max_drawdown = 0.15",
    "min_density": "minimum share of slots in which each market traded",
    "drawdown_limit": "a trial is pruned above this drawdown",
    "ranges": "lowest and highest value searched",
    "narrow": "true: search only around the winner of the level before",
    "inherit": "points around the winner of the level before, and how near to it",
    "retries": "further attempts after a failed gate",
    "retry": "more trials, and wider ranges where the best parameters lie at an edge",
    "relax": "share by which each retry relaxes the gate",
    "stress": "limits of stress tests that the gate requires; windows are known crises",
}
"""What is said beside a field."""
FIELDS = (
    "name", "title", "direction", "strategy", "trials", "lag", "mode", "objective", "sampler", "pruner", "datasets",
    "split", "gate", "min_trades", "costs", "position_fraction", "risk", "min_density", "drawdown_limit", "ranges",
    "narrow", "inherit", "retries", "retry", "relax", "stress", "analyses",
)  # fmt: skip


def curriculum_text(draft: Draft, *, command: str, file: str) -> str:
    """Return the file of a drafted curriculum."""
    everything = [each.source.instrument for level in draft.levels for each in level.datasets]
    pairs = ", ".join(dict.fromkeys(each.full_name for each in everything))
    head = HEAD.format(
        pairs=pairs,
        command=command,
        file=file,
        share=HOLDOUT_SHARE,
        days=MAX_HOLDOUT_DAYS,
        holdout=draft.levels[0].holdout,
    )
    providers = {each.provider for each in everything}
    return "\n".join([head, *(_level_text(level, draft.notes[level.name], providers) for level in draft.levels)])


def _level_text(level: Level, notes: Sequence[str], providers: set[str]) -> str:
    lines = ["[[level]]", *(f"# {note}" for note in notes)]
    for name in FIELDS:
        if name == "datasets":
            lines += _dataset_lines(level.datasets)
            continue
        if name == "costs":
            lines.append(_preset_line(providers))
        value = {"sampler": str(level.used_sampler), "pruner": str(level.used_pruner)}.get(name, getattr(level, name))
        if value is None or value == ():
            continue
        text = f"{name} = {toml_value(value)}"
        lines.append(f"{text}  # {COMMENTS[name]}" if name in COMMENTS else text)
    return "\n".join(lines) + "\n"


def _preset_line(providers: set[str]) -> str:
    """Return a comment on cost presets, with the first of each provider as an example."""
    first = {name.split(".")[0]: name for name in reversed(PRESETS)}
    examples = ", ".join(f'"{name}"' for provider, name in sorted(first.items()) if provider in providers)
    example = f"costs = [{examples}]" if examples else "none for these providers"
    return f"# or presets, listed by tradeschool costs list: {example}"


def _dataset_lines(datasets: Sequence[LevelDataset]) -> list[str]:
    """Return one line per dataset, end excluded; the rule stands beside the window that it found."""
    lines = ["datasets = [  # end excluded"]
    for each in datasets:
        rule = f", rule = {toml_value(each.rule)}" if each.rule else ""
        lines.append(f'  {{ dataset = "{each.dataset}", start = {each.start}, end = {each.end}{rule} }},')
    if any(each.rule for each in datasets):
        lines.insert(1, '  # Windows found by rule: docs/explanation/curriculum.md, "Windows found by rule".')
    return [*lines, "]"]
