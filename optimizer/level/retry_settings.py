"""Settings of a level's retries."""

from typing import Annotated

from pydantic import Field

from optimizer.level.constraints import StrictModel

Factor = Annotated[float, Field(ge=1, le=10)]


class RetrySettings(StrictModel):
    """How a retry differs from the attempt before it."""

    trials_factor: Factor = 1.5
    """Trials of an attempt over those of the attempt before."""
    range_factor: Factor = 1.5
    """Width of a range that is widened on both sides over its width before; one side alone gets half of the difference.
    """
    edge: Annotated[float, Field(ge=0, le=0.25)] = 0.02
    """Distance from an end of the range, as a share of it, within which a value lies at its edge."""

    @property
    def sentence(self) -> str:
        """The settings in words."""
        return (
            f"{self.trials_factor:g} times the trials; a range is widened at the end at which the winner, or else the "
            f"closest trial, lies (within {self.edge:g} of the range), or every range if no trial was feasible and it "
            f"lies at no end; factor {self.range_factor:g}"
        )
