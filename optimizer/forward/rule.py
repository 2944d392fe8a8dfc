"""The rule of a forward test: what is traded, and when the test ends; written before the first day, then never changed.

The file's digest is in the first line of the day log, and each later line depends on it.
"""

import importlib.util
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, ValidationError

from optimizer.level.costs import Costs
from optimizer.level.spec import Direction
from optimizer.validation.statistics.confidence_sequence import DAYS_A_YEAR
from optimizer.validation.stored_model import StoredModel
from optimizer.validation.winner_setup import WinnerSetup
from tradeschool.atomic_files import publish_text
from tradeschool.errors import ForwardTestChanged, SettingsError
from tradeschool.markets.catalogue import find_dataset
from tradeschool.markets.instruments import Dataset

RULE_NAME = "rule.json"
DEVIATIONS, WORST_DAYS = 8.0, 1.5
"""The bound is at least this many standard deviations, and this many times the worst day, of train."""
Probability = Annotated[float, Field(gt=0, lt=1)]


class ForwardDataset(StoredModel):
    """A traded dataset."""

    dataset: str
    warm_up_bars: Annotated[int, Field(ge=0)]
    """Number of bars before the first day that warm up the indicators."""
    candles_from: date
    """First day whose candles are read."""

    @property
    def source(self) -> Dataset:
        """The dataset object of that name."""
        return find_dataset(self.dataset)


class ForwardLimits(StoredModel):
    """When a forward test ends."""

    alpha_deploy: Probability = 0.05
    """Largest probability to deploy, ever, parameters whose mean daily return is not above zero."""
    alpha_stop: Probability = 0.05
    """Largest probability that the upper limit ever stops parameters that are worthwhile."""
    worthwhile_sharpe: Annotated[float, Field(gt=0, le=10)] = 1.0
    """The test stops once a mean of this annualised Sharpe ratio, at the deviation on train, is rejected."""
    max_drawdown: Annotated[float, Field(gt=0, le=1)] = 0.15
    """The test stops once the intrabar drawdown exceeds this."""
    min_days: Annotated[int, Field(ge=1)] = 30
    """Number of days before which nothing is deployed."""
    max_days: Annotated[int, Field(ge=1)] = 1_095
    """The test stops after this many days without a decision."""


class ForwardRule(StoredModel):
    """Everything that a forward test depends on, except the candles to come."""

    version: Literal[1] = 1
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    run: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    level: str
    attempt: int
    trial: int
    created: AwareDatetime
    start: date
    """First day of the test."""
    end: date | None
    """First day after a replay; None for a test on candles to come."""
    data_end: date
    """First day after all days that the search has read; earlier days of a replay are no evidence."""
    strategy: str
    direction: Direction
    parameters: dict[str, int | float]
    position_fraction: float
    size: Annotated[float, Field(gt=0)]
    """Share of the account's equity that is traded."""
    costs: Costs
    datasets: Annotated[tuple[ForwardDataset, ...], Field(min_length=1)]
    code: str
    """Fingerprint of the code, with a user's strategy module."""
    deviation: Annotated[float, Field(gt=0)]
    """Standard deviation of the daily returns on train."""
    bound: Annotated[float, Field(gt=0)]
    """Largest daily return, in either direction, that the confidence sequence accepts; a larger loss stops the test."""
    limits: ForwardLimits

    @property
    def worthwhile_mean(self) -> float:
        """Mean daily return of `worthwhile_sharpe`."""
        return float(self.limits.worthwhile_sharpe * self.deviation / DAYS_A_YEAR**0.5)

    @property
    def sentences(self) -> tuple[str, ...]:
        """The rule in words."""
        limits = self.limits
        return (
            f"deploy: from day {limits.min_days} on, once the lower limit of the mean daily return is above zero "
            f"(an e-value of {1 / limits.alpha_deploy:g}, error rate {limits.alpha_deploy:.3g} over all days together)",
            f"stop: once the upper limit is below {self.worthwhile_mean:.3g} a day, a Sharpe ratio of "
            f"{limits.worthwhile_sharpe:g} at the deviation on train (error rate {limits.alpha_stop:.3g})",
            f"stop: once the drawdown exceeds {limits.max_drawdown:.1%}, or a day loses more than {self.bound:.2%}",
            f"stop: after {limits.max_days:,} days without a decision",
        )


def bound_of(deviation: float, worst: float) -> float:
    """Return the bound of daily returns; `worst`: the worst daily return on train.

    Source: a bound must be set before the first day; this one is generous, because a larger loss stops the test.
    """
    return max(DEVIATIONS * deviation, -WORST_DAYS * worst)


def write_rule(root: Path, folder: Path, rule: ForwardRule) -> None:
    """Write the rule to a new forward test's folder inside `root`.

    Raises:
        StoreUnwritable: the file cannot be written.
    """
    publish_text(root, folder / RULE_NAME, rule.model_dump_json(indent=1) + "\n")


def read_rule(folder: Path) -> ForwardRule | None:
    """Return the rule of a folder; None if there is none.

    Raises:
        ForwardTestChanged: the file cannot be read as a rule.
    """
    try:
        return ForwardRule.model_validate_json((folder / RULE_NAME).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"{error.error_count()} invalid values"
        raise ForwardTestChanged(f"{folder / RULE_NAME}: cannot be read as a rule: {reason}") from None


def digest_of(folder: Path) -> str:
    """Return the hexadecimal SHA-256 digest of a folder's rule."""
    return sha256((folder / RULE_NAME).read_bytes()).hexdigest()


def code_of(strategy: str, optimizer: str) -> str:
    """Return the fingerprint of the code: that of the optimizer, with the source of a user's strategy module."""
    if ":" not in strategy:
        return optimizer
    found = importlib.util.find_spec(strategy.partition(":")[0])
    if found is None or found.origin is None:
        raise SettingsError(f"strategy {strategy}: its module is not found")
    return f"{optimizer}-{sha256(Path(found.origin).read_bytes()).hexdigest()[: len(optimizer)]}"


def setup_changes(rule: ForwardRule, setup: WinnerSetup, size: float) -> list[str]:
    """Return the differences between a rule and a setup that is to be traded now, one phrase each."""
    warm_ups = {each.dataset: each.warm_up_bars for each in setup.datasets}
    return [
        *_changes(_trading(rule.model_dump(mode="json"), rule.size), _trading(setup.model_dump(mode="json"), size)),
        *_changes(rule.parameters, setup.parameters),
        *_changes({each.dataset: each.warm_up_bars for each in rule.datasets}, warm_ups, " warm-up"),
    ]


def midnight(day: date) -> datetime:
    """Return the start of a day in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def day_after(day: date) -> date:
    """Return the next day."""
    return day + timedelta(days=1)


def _trading(fields: Mapping[str, object], size: float) -> dict[str, object]:
    names = ("strategy", "direction", "position_fraction", "costs")
    return {**{name: fields[name] for name in names}, "size": size}


def _changes(was: Mapping[str, object], now: Mapping[str, object], of: str = "") -> Iterator[str]:
    for name in dict.fromkeys((*was, *now)):
        if was.get(name) != now.get(name):
            yield f"{name}{of} was {was.get(name)}, now {now.get(name)}"
