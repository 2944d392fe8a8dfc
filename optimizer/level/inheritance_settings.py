"""Settings of what a level takes over from the winner of the level before."""

from typing import Annotated

from pydantic import Field

from optimizer.level.constraints import StrictModel


class InheritanceSettings(StrictModel):
    """First points that a level takes over from the winner of the level before."""

    neighbours: Annotated[int, Field(ge=0, le=1_000)] = 8
    """Number of quasi-random points around the winner."""
    reach: Annotated[float, Field(gt=0, le=1)] = 0.25
    """Share of each range to either side of the winner that they, and a search with `narrow`, lie in."""
