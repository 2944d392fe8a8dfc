"""A dataset of a level, and the days that the level uses of it."""

from datetime import UTC, date, datetime
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from optimizer.level.constraints import StrictModel
from optimizer.level.days import with_days
from tradeschool.errors import SettingsError
from tradeschool.markets.catalogue import find_dataset
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window


class LevelDataset(StrictModel):
    """A dataset and the days that a level uses."""

    dataset: str
    """Such as `coinbase/BTC-USD/M5`."""
    start: date
    end: date
    """First day after the range."""
    rule: Annotated[str, Field(exclude_if=lambda rule: not rule)] = ""
    """The rule that found the range, with its return; empty for a range that was chosen by hand."""

    _days = model_validator(mode="before")(with_days)

    @field_validator("dataset")
    @classmethod
    def _has_its_own_name(cls, name: str) -> str:
        """Replace another spelling of a timeframe or pair, such as `coinbase/BTC-USD/1h`, by the dataset's name."""
        try:
            return find_dataset(name).name
        except SettingsError as error:
            raise ValueError(str(error)) from None

    @model_validator(mode="after")
    def _is_not_empty(self) -> Self:
        if self.start >= self.end:
            raise ValueError(f"{self.dataset}: start {self.start} must come before end {self.end}")
        return self

    @property
    def source(self) -> Dataset:
        """The dataset object of that name."""
        return find_dataset(self.dataset)

    @property
    def window(self) -> Window:
        """The whole range of days of this dataset."""
        return Window(_midnight(self.start), _midnight(self.end))


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
