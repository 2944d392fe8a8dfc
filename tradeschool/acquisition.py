"""What a download is doing: published beside the candles every few seconds, for whoever shows or counts it.

`<data_dir>/acquisition.json` is written by the fetcher and read by the page and the metrics, which know no fetcher.
"""

from collections import Counter, defaultdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from tradeschool.errors import ForeignFile
from tradeschool.store.files import publish_text

FILE_NAME = "acquisition.json"
FRESH = timedelta(seconds=15)
"""A record that says it is running and is older comes from a fetcher that was killed."""

Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Durations(_Strict):
    """How often something took how long."""

    bounds_seconds: tuple[float, ...]
    """Upper bounds of the buckets."""
    counts: tuple[Count, ...]
    """By bucket, each alone; the last one is for what took longer than every bound."""
    seconds: Seconds
    """All of it together."""


class LaneState(_Strict):
    """One provider."""

    provider: str
    limit_per_second: float
    """Requests that its rate limit allows."""
    requests: Count
    """Attempts sent by this run."""
    retries: Count
    """Those of them that were not the first for their page."""
    requests_per_second: float
    """Since the run began."""
    waiting_for_token: Count
    """Requests that the rate limit, or a pause, holds back now."""
    waiting_for_network: Count
    """Requests that are sent and not answered yet."""
    paused_seconds: Seconds
    """How much is left of a pause after a failure."""
    eta_seconds: Seconds
    """Until its last page."""
    outcomes: dict[str, Count]
    """Attempts by what became of them: ok, busy, server_error, no_answer, unreadable, refused."""
    token_seconds: Durations
    """How long requests waited for the rate limit."""
    answer_seconds: Durations
    """How long requests took."""

    @property
    def limit_share(self) -> float:
        """Fraction of the rate limit that is used."""
        return self.requests_per_second / self.limit_per_second


class DownloadState(_Strict):
    """One range of one dataset."""

    dataset: str
    range: str
    pages_done: Count
    """Stored by this run."""
    pages_total: Count
    """To be asked for by this run, as far as is known."""
    reached: AwareDatetime | None
    """End of the latest page stored."""
    sealed: tuple[str, ...]
    """Datasets of which the range is sealed now, derived ones included."""
    error: str | None
    """Why it was left unsealed."""

    @property
    def provider(self) -> str:
        """The first word of its dataset's name."""
        return self.dataset.partition("/")[0]

    @property
    def pages_left(self) -> int:
        """Still to be asked for, as far as is known; none of what was given up."""
        return 0 if self.sealed or self.error else max(0, self.pages_total - self.pages_done)


class Acquisition(_Strict):
    """A whole run."""

    version: Literal[1] = 1
    time: AwareDatetime
    """When this was written."""
    running: bool
    eta_seconds: Seconds
    """Until the last page of the slowest provider."""
    cpu_seconds: Seconds = 0.0
    """Of processor time that the fetcher has used."""
    memory_bytes: Count = 0
    """That it has used at its largest."""
    lanes: tuple[LaneState, ...]
    downloads: tuple[DownloadState, ...]

    @property
    def pages_done(self) -> int:
        """Pages stored by this run."""
        return sum(each.pages_done for each in self.downloads)

    @property
    def pages_total(self) -> int:
        """Pages that this run has to ask for, as far as is known."""
        return sum(each.pages_total for each in self.downloads)

    @property
    def etas_seconds(self) -> tuple[float, ...]:
        """By download: until its own last page. Those of a provider are asked for one after the other."""
        ahead: dict[str, int] = defaultdict(int)
        behind = Counter[str]()
        for each in self.downloads:
            behind[each.provider] += each.pages_left
        seconds = {lane.provider: lane.eta_seconds for lane in self.lanes}
        etas = []
        for each in self.downloads:
            ahead[each.provider] += each.pages_left
            share = ahead[each.provider] / behind[each.provider] if each.pages_left else 0.0
            etas.append(share * seconds.get(each.provider, 0.0))
        return tuple(etas)

    def state(self, now: datetime) -> Literal["running", "over", "lost"]:
        """What has become of the fetcher that wrote this; lost is one that was killed."""
        if not self.running:
            return "over"
        return "running" if now - self.time < FRESH else "lost"

    def publish(self, root: Path) -> None:
        """Write it where readers look, whole or not at all.

        Raises:
            StoreUnwritable: where the disk does not take it.
        """
        publish_text(root, root / FILE_NAME, self.model_dump_json() + "\n")


def read_acquisition(root: Path) -> Acquisition | None:
    """What the latest run in a data folder last said of itself; None where none ever ran.

    Raises:
        ForeignFile: where the file is not one that this version reads.
    """
    path = root / FILE_NAME
    try:
        return Acquisition.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise ForeignFile(f"{path}: not a record that this version reads: {str(error).splitlines()[0]}") from error
