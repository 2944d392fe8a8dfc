"""An import into a store of its own."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fetcher.importing.importer import ImportResult, import_candles
from fetcher.importing.request import ImportRequest
from tradeschool.store.frame_store import FrameStore

NOW = datetime(2026, 1, 1, tzinfo=UTC)

Import = Callable[..., ImportResult]


@pytest.fixture
def run_import(store: FrameStore) -> Import:
    """Import paths with the options of a request."""

    def run(*paths: Path, now: datetime = NOW, dry_run: bool = False, **options: Any) -> ImportResult:
        return import_candles(paths, ImportRequest(**options), store, now=now, dry_run=dry_run)

    return run
