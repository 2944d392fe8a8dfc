"""Runs a curriculum in one surrogate market of a null test, in a work horse."""

from collections.abc import Sequence

from optimizer.level.spec import Level
from optimizer.objective.objective import Read


def run_surrogate(levels: Sequence[Level], seed: int, read: Read, number: int) -> str:
    """Run the whole curriculum in surrogate market `number` and return its `NullRun` as JSON.

    Raises:
        SettingsError: A level cannot be searched.
        DataError: Candles are missing or invalid.
    """
    # Imported late: Optuna and the analyses take seconds to import, and trials do not need them.
    from optimizer.validation.in_process import curriculum_in_process

    return curriculum_in_process.run_surrogate(levels, seed, read, number).model_dump_json()
