"""Download status record: progress, request counts and ETA of the latest download run.

The fetcher writes it to `<data_dir>/download_status.json` every few seconds; the page and the metrics read it
from there.
"""

from collections import Counter, defaultdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from tradeschool.atomic_files import publish_text
from tradeschool.errors import ForeignFile, first_line

FILE_NAME = "download_status.json"
FRESH = timedelta(seconds=15)
"""Maximum age of a record of a live fetcher; an older record with `running` set comes from a killed fetcher."""

Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]


class _StatusModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Durations(_StatusModel):
    """Histogram of durations."""

    bounds_seconds: tuple[float, ...]
    """Upper bounds of the buckets."""
    counts: tuple[Count, ...]
    """Count per bucket, not cumulative; the last bucket has no upper bound."""
    seconds: Seconds
    """Sum of all durations."""


class ProviderState(_StatusModel):
    """Download status of one provider."""

    provider: str
    limit_per_second: float
    """Rate limit, in requests per second."""
    requests: Count
    """Attempts sent by this run."""
    retries: Count
    """Attempts after the first one for a page."""
    requests_per_second: float
    """Average rate since the start of the run."""
    waiting_for_token: Count
    """Requests that currently wait for the rate limit or a pause."""
    waiting_for_network: Count
    """Requests that are currently sent and not answered."""
    paused_seconds: Seconds
    """Remaining time of a pause after a failure."""
    eta_seconds: Seconds
    """Estimated time until the last page of the provider."""
    outcomes: dict[str, Count]
    """Number of attempts by outcome: ok, busy, server_error, no_response, unreadable, refused."""
    token_seconds: Durations
    """Time that requests waited for the rate limit."""
    response_seconds: Durations
    """Time from sending a request to its complete response."""

    @property
    def limit_share(self) -> float:
        """Used fraction of the rate limit."""
        return self.requests_per_second / self.limit_per_second


class DownloadState(_StatusModel):
    """Download status of one range of a dataset."""

    dataset: str
    range: str
    pages_done: Count
    """Pages stored by this run."""
    pages_total: Count
    """Pages to request in this run, as currently known."""
    reached: AwareDatetime | None
    """End of the latest stored page."""
    sealed: tuple[str, ...]
    """Datasets that this download has sealed over the range, derived ones included."""
    error: str | None
    """Reason why the range was not sealed."""
    banned: bool = False
    """Whether the download failed because the provider asked for a longer pause than the fetcher waits."""

    @property
    def provider(self) -> str:
        """Provider: the first part of the dataset name."""
        return self.dataset.partition("/")[0]

    @property
    def pages_left(self) -> int:
        """Pages still to request, as currently known; 0 for a sealed or failed range."""
        return 0 if self.sealed or self.error else max(0, self.pages_total - self.pages_done)


class DownloadStatus(_StatusModel):
    """Status of a download run."""

    version: Literal[1] = 1
    time: AwareDatetime
    """Time of writing."""
    running: bool
    eta_seconds: Seconds
    """Estimated time until the last page of the slowest provider."""
    cpu_seconds: Seconds = 0.0
    """Processor time used by the fetcher."""
    memory_bytes: Count = 0
    """Peak memory of the fetcher."""
    providers: tuple[ProviderState, ...]
    downloads: tuple[DownloadState, ...]

    @property
    def pages_done(self) -> int:
        """Pages that this run has stored."""
        return sum(each.pages_done for each in self.downloads)

    @property
    def pages_total(self) -> int:
        """Pages to request in this run, as currently known."""
        return sum(each.pages_total for each in self.downloads)

    @property
    def etas_seconds(self) -> tuple[float, ...]:
        """ETA of each download, in order; the downloads of one provider run one after the other."""
        ahead: dict[str, int] = defaultdict(int)
        behind = Counter[str]()
        for each in self.downloads:
            behind[each.provider] += each.pages_left
        seconds = {provider.provider: provider.eta_seconds for provider in self.providers}
        etas = []
        for each in self.downloads:
            ahead[each.provider] += each.pages_left
            share = ahead[each.provider] / behind[each.provider] if each.pages_left else 0.0
            etas.append(share * seconds.get(each.provider, 0.0))
        return tuple(etas)

    def state(self, now: datetime) -> Literal["running", "over", "lost"]:
        """Return the state of the fetcher that wrote the record; `lost` means that it was killed."""
        if not self.running:
            return "over"
        return "running" if now - self.time < FRESH else "lost"

    def publish(self, root: Path) -> None:
        """Write the record to the data folder atomically.

        Raises:
            StoreUnwritable: if the file cannot be written.
        """
        publish_text(root, root / FILE_NAME, self.model_dump_json() + "\n")


def read_download_status(root: Path) -> DownloadStatus | None:
    """Return the status record of the latest download run, None if there was no run.

    Raises:
        ForeignFile: if the file cannot be read by this version.
    """
    path = root / FILE_NAME
    try:
        return DownloadStatus.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise ForeignFile(f"{path}: not a download status of this version: {first_line(error)}") from error
