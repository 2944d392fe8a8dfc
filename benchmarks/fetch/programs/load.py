"""What a worker waits for before its first trial: every sealed range as arrays, decoded and then mapped."""

import json
import sys
import time
from pathlib import Path

from tradeschool.markets.catalogue import find_dataset
from tradeschool.store.cached_store import CachedStore


def main(folder: Path) -> None:
    """Print the seconds of a first and a second load in one process, and how many ranges that was."""
    store = CachedStore(folder, folder / ".columns")
    names = {str(path.parent.relative_to(folder)) for path in folder.rglob("*.seal.json")}
    ranges = [(find_dataset(name), seal.window) for name in sorted(names) for seal in store.seals(find_dataset(name))]
    seconds = []
    for _ in range(2):
        began = time.monotonic()
        for dataset, window in ranges:
            store.arrays(dataset, window)
        seconds.append(time.monotonic() - began)
    print(json.dumps({"first_seconds": seconds[0], "second_seconds": seconds[1], "ranges": len(ranges)}))


main(Path(sys.argv[1]))
