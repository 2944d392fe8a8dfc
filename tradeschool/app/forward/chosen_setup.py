"""The parameters that a forward test trades: those that a run recommends, or those of a best_params.json."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pydantic import ValidationError

from optimizer.runs.run_record import RunRecord
from optimizer.validation.winner_setup import WinnerSetup
from tradeschool.errors import SettingsError
from workers.coordinator.context import RunContext
from workers.coordinator.run import run_persistence

PARAMETERS_NAME = "best_params.json"
DEFAULT_DRAWDOWN = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenSetup:
    """What is traded, and what the search knows of it."""

    setup: WinnerSetup
    data_end: date
    """First day after all days that the run has read."""
    max_drawdown: float
    """The drawdown limit of the level's gate."""

    @property
    def size(self) -> float:
        """Share of the account's equity that is traded."""
        return float(getattr(self.setup, "size", 1.0))


def setup_of_run(context: RunContext, name: str) -> ChosenSetup:
    """Return the parameters that a finished run recommends.

    Raises:
        SettingsError: There is no such run, it has not ended, or it has no winner.
    """
    record = run_persistence.read_run(context, name)
    found = record.recommendation
    if found is None:
        raise SettingsError(f"run {name} has no recommendation yet; resume it: tradeschool optimize resume {name}")
    if found.level is None or found.parameters is None:
        raise SettingsError(f"run {name} has no winner to trade: {found.reason}")
    setup = _read(context.folder(name) / found.level / PARAMETERS_NAME)
    if setup.run != name or setup.parameters != found.parameters:
        raise SettingsError(
            f"{context.folder(name) / found.level / PARAMETERS_NAME}: not the parameters that run {name} recommends; "
            f"write them again: tradeschool optimize report {name}"
        )
    return ChosenSetup(
        setup=setup,
        data_end=_end_of(record),
        max_drawdown=record.level(found.level).gate.max_drawdown_intrabar,
    )


def setup_of_file(file: Path) -> ChosenSetup:
    """Return the parameters of a run's best_params.json.

    Raises:
        SettingsError: The file is not one.
    """
    setup = _read(file)
    return ChosenSetup(setup=setup, data_end=max(each.end for each in setup.datasets), max_drawdown=DEFAULT_DRAWDOWN)


def _end_of(record: RunRecord) -> date:
    ends = [dataset.end for level in record.levels for dataset in level.datasets]
    evidence = record.recommendation.evidence if record.recommendation else None
    if evidence and evidence.holdout:
        ends.append(record.holdout.end)
    return max(ends)


def _read(file: Path) -> WinnerSetup:
    try:
        return WinnerSetup.model_validate_json(file.read_bytes())
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}: expected a run's {PARAMETERS_NAME}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "content"
        raise SettingsError(f"{file}: {where}: {first['msg']}: expected a run's {PARAMETERS_NAME}") from None
