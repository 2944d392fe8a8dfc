"""The candles that a level's search may read."""

from optimizer.level.spec import Level
from tradeschool.store import Store


def closed_for(store: Store, level: Level) -> Store:
    """Return the store with the holdout period of the level's curriculum as the range that cannot be read."""
    window = level.holdout.window
    return store if store.closed == window else store.with_closed(window)
