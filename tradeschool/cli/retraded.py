"""`tradeschool backtest --run`: a recorded trial traded again, its figures held against those of the run."""

from dataclasses import dataclass

from optimizer.level import Part
from optimizer.metrics import figures
from optimizer.strategy import load, repaired
from tradeschool.cli.apart import load_here
from tradeschool.cli.context import load_settings, now, print_json, say
from tradeschool.cli.searching import begun, place_of
from tradeschool.cli.tested import Outputs, Tested, as_object, show
from tradeschool.errors import TrialDiffers
from workers import records
from workers.retrade import Recorded, changed_since, find_trial, open_part, retrade


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which trial, and on which part."""

    run: str
    level: str | None
    attempt: int | None
    part: Part
    trial: int | None


def trade_again(wanted: Wanted, outputs: Outputs, *, as_json: bool) -> None:
    """Print what the trial comes to now, and whether that is what its run recorded.

    Raises:
        SettingsError: where there is no such run, level, attempt or trial, or the part is closed.
        TrialDiffers: where a figure is not the recorded one.
        DataError: where candles are missing or unsound.
    """
    place = place_of(load_settings())
    record = records.read_run(place, wanted.run)
    row = begun(record, wanted.level, wanted.attempt)
    load_here(record.level(row.level).strategy)
    recorded = find_trial(place, record, row, wanted.trial, wanted.part)
    for change in changed_since(place, record):
        say(f"changed since run {record.name} was begun: {change}")
    if wanted.part is not Part.TRAIN:
        say(open_part(place.folder(record.name), (row.level, row.number), wanted.part, recorded.trial.number, now()))
    found = retrade(place, recorded)
    tested = [
        Tested(prepared=prepared, run=run, held=held)
        for prepared, run, held in zip(found.prepared, found.runs, found.held, strict=True)
    ]
    differences = recorded.differences(figures(found.runs))
    outputs.write(recorded.name, tested)
    _print(recorded, tested, differences, as_json=as_json)
    if differences:
        raise TrialDiffers(f"{recorded.name} does not repeat: {'; '.join(differences[:3])}")


def _print(recorded: Recorded, tested: list[Tested], differences: list[str], *, as_json: bool) -> None:
    level, trial = recorded.level, recorded.trial
    parameters = repaired(load(level.strategy), trial.params)
    if as_json:
        print_json(
            {
                "run": recorded.record.name,
                "level": level.name,
                "attempt": recorded.row.number,
                "trial": trial.number,
                "is_winner": recorded.is_winner,
                "state": trial.state.name.lower(),
                "part": recorded.part.value,
                "strategy": level.strategy,
                "direction": level.direction.value,
                "parameters": trial.params,
                **as_object(tested),
                "recorded": recorded.figures,
                "differences": differences,
            }
        )
    else:
        show(load(level.strategy), parameters, tested)
    for line in _remarks(recorded, is_same=not differences):
        say(line)


def _remarks(recorded: Recorded, *, is_same: bool) -> list[str]:
    """What has to be known of the figures."""
    lines, trial = [], recorded.trial
    if "pruned" in trial.user_attrs:
        where = "its figures are of these" if recorded.part is Part.TRAIN else "its figures here are of all"
        ran = f"{len(trial.intermediate_values)} of {len(recorded.level.datasets)} datasets"
        lines.append(f"trial {trial.number} was pruned on train after {ran}, {trial.user_attrs['pruned']}: {where}")
    if recorded.figures is None:
        lines.append(f"{recorded.name}: the run recorded no figures there to compare with")
    elif is_same:
        lines.append(f"{recorded.name}: every figure is the recorded one, to the last digit")
    return lines
