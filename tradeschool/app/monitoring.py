"""Monitoring of the configured installation: where to look, and a function that looks."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime

from tradeschool.app.context import candles_of, chosen_datasets
from tradeschool.embedded_valkey.server import Valkey
from tradeschool.settings.model import Settings
from tradeschool.settings.signing_key import signing_key
from tradeschool.views.live_screen import Look
from workers.connection.signing import Signer
from workers.coordinator.context import Place
from workers.monitoring.overview import Lookout, Sources


def sources_of(settings: Settings) -> Sources:
    """Return the monitored sources named by the settings, without starting any of them."""
    embedded = None if settings.redis_url else Valkey.of(settings.state_dir)
    url = settings.redis_url.get_secret_value() if settings.redis_url else Valkey.of(settings.state_dir).url
    return Sources(
        redis_url=url,
        place=Place.of(settings, candles_of(settings), Signer(signing_key(settings))),
        datasets=chosen_datasets(()),
        embedded=embedded,
    )


def absence_of(settings: Settings) -> str:
    """Return a note if the embedded server is stopped because no run is active, else an empty string."""
    with closing(Lookout(sources_of(settings), is_quiet=True)) as lookout:
        return lookout.queue().note


@contextmanager
def looking(settings: Settings) -> Iterator[Callable[[], Look]]:
    """Yield a function that reads all sources, until the block ends."""
    lookout = Lookout(sources_of(settings), is_quiet=True)
    try:
        yield lambda: Look(
            queue=lookout.queue(),
            run=lookout.run(),
            download=lookout.download(),
            now=datetime.fromtimestamp(lookout.clock(), UTC),
        )
    finally:
        lookout.close()
