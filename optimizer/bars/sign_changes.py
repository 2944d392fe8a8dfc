"""Detection of sign changes, eight bars per comparison because most signs repeat."""

import numpy as np
from numpy.typing import NDArray

from optimizer.compilation.jit import inlined, njit

WORD = 8
"""Signs compared per step."""
EIGHT_TIMES = np.uint64(0x0101010101010101)
"""Factor that repeats a byte in all eight bytes of a word."""


def mark_changes(signs: NDArray[np.int8], signals: NDArray[np.int8]) -> None:
    """Write each sign that is non-zero and differs from the previous bar's into `signals`; both of shape (n_bars,).

    The first bar and all other bars of `signals` are left unchanged.
    """
    words = signs[: len(signs) // WORD * WORD].view(np.uint64)
    _mark(signs, signs.view(np.uint8), words, signals)


@njit
def _mark(
    signs: NDArray[np.int8], octets: NDArray[np.uint8], words: NDArray[np.uint64], signals: NDArray[np.int8]
) -> None:
    last = 0
    for number in range(words.size):
        if words[number] != octets[last] * EIGHT_TIMES:
            _mark_each(signs, max(1, number * WORD), number * WORD + WORD, signals)
            last = number * WORD + WORD - 1
    _mark_each(signs, max(1, words.size * WORD), signs.size, signals)


@inlined
def _mark_each(signs: NDArray[np.int8], start: int, end: int, signals: NDArray[np.int8]) -> None:
    for bar in range(start, end):
        if signs[bar] != signs[bar - 1] and signs[bar] != 0:
            signals[bar] = signs[bar]
