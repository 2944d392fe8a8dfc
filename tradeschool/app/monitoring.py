"""Sources of the monitoring status, and the reader of the live queue screen, from the settings."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from tradeschool.app.context import candles_of, known_datasets
from tradeschool.embedded_valkey.server import EmbeddedValkey
from tradeschool.settings.model import Settings
from tradeschool.settings.signing_key import signing_key
from tradeschool.views.live_screen import QueueScreen
from workers.connection.signing import Signer
from workers.coordinator.context import RunContext
from workers.monitoring.overview import Overview, Sources


def sources_of(settings: Settings) -> Sources:
    """Return the monitored sources named by the settings, without starting any of them."""
    server = settings.redis_server
    embedded = None if server else EmbeddedValkey.of(settings.state_dir)
    url = server or EmbeddedValkey.of(settings.state_dir).url
    store = candles_of(settings)
    return Sources(
        redis_url=url,
        context=RunContext.of(settings, store, Signer(signing_key(settings))),
        datasets=known_datasets(store, tell=lambda line: None),
        embedded=embedded,
    )


@contextmanager
def queue_screen_reader(settings: Settings) -> Iterator[Callable[[], QueueScreen]]:
    """Yield a function that reads all sources, until the block ends."""
    overview = Overview(sources_of(settings), is_quiet=True)
    try:
        yield lambda: QueueScreen(
            queue=overview.queue(),
            run=overview.run(),
            download=overview.download(),
            now=datetime.fromtimestamp(overview.clock(), UTC),
        )
    finally:
        overview.close()
