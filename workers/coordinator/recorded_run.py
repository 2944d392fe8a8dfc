"""A recorded run: the record of a run together with the context that its steps use."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial
from pydantic import JsonValue

from optimizer.runs.run_record import AttemptRow, RunRecord, WindowRow
from optimizer.search.study import read_trials
from workers.coordinator import event_log
from workers.coordinator.context import RunContext


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRun:
    """A run's record, and the stores, folders and settings that its steps use."""

    context: RunContext
    record: RunRecord

    @property
    def folder(self) -> Path:
        """The folder of its results."""
        return self.context.folder(self.record.name)

    def trials(self, attempt: AttemptRow, window: WindowRow | None = None) -> list[FrozenTrial]:
        """The committed trials of an attempt's search, or of a window's; reused ones included."""
        study = self.record.study(attempt.level, attempt.number, window.number if window else None)
        return read_trials(self.context.storage_url, study)

    def log_event(self, event: str, **facts: JsonValue) -> None:
        """Append an event to the run's event log."""
        event_log.record(self.folder, event, **facts)

    def with_record(self, record: RunRecord) -> "RecordedRun":
        """The same run with another record."""
        return replace(self, record=record)

    def as_json(self) -> dict[str, object]:
        """As JSON for `from_json` in another process."""
        return {"context": self.context.as_json(), "record": self.record.model_dump_json()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "RecordedRun":
        """Restore a run from `as_json`."""
        context, record = RunContext.from_json(content["context"]), RunRecord.model_validate_json(content["record"])
        return cls(context=context, record=record)
