"""Parts of a window that seals cover: the files to read, their common digest, and the gaps as text."""

import hashlib
from collections.abc import Iterable

from tradeschool.markets.instruments import Dataset
from tradeschool.markets.shipped import INSTRUMENTS
from tradeschool.markets.windows import Window, merge, subtract
from tradeschool.store.seal import PartFile, Seal

GAPS_NAMED = 3
"""Maximum number of gaps in an error message."""

Parts = list[tuple[PartFile, Window]]
"""Files, each with the part of a window to read from it."""


def parts_of(seals: Iterable[Seal], whole: Window | None) -> Parts:
    """Return the files of a window in time order; of overlapping seals, the first one counts."""
    parts: Parts = []
    taken: list[Window] = []
    for seal in seals if whole else ():
        for piece in _overlaps(whole, seal.window, taken) if whole else ():
            parts += seal.files_of(piece)
            taken = merge([*taken, piece])
    return sorted(parts, key=lambda part: part[1])


def digest_of(dataset: Dataset, window: Window, parts: Parts) -> str:
    """Return a hexadecimal SHA-256 digest of the candles of a window."""
    total = hashlib.sha256(f"{dataset.name} {window.name}".encode())
    if dataset.instrument not in INSTRUMENTS:  # a listed instrument may have another tick on another machine
        total.update(f" {dataset.instrument.decimals}".encode())
    for file, part in parts:
        total.update(f" {part.name} {file.sha256}".encode())
    return total.hexdigest()


def longest_gaps(seals: Iterable[Seal], window: Window) -> str:
    """Return the number of gaps in a window and the longest ones as text."""
    spans = [(gap.slots, Window(gap.start, gap.end)) for seal in seals for gap in seal.gaps]
    inside = sorted({(slots, gap) for slots, gap in spans if gap.overlap(window)}, key=lambda each: -each[0])
    longest = ", ".join(f"{gap} ({slots:,} candles)" for slots, gap in inside[:GAPS_NAMED])
    return f"gaps: {len(inside):,}, the longest {longest}"


def _overlaps(window: Window, sealed: Window, taken: list[Window]) -> list[Window]:
    shared = window.overlap(sealed)
    return subtract(shared, taken) if shared else []
