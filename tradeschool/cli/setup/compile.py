"""`tradeschool compile`: compile the backtest ahead of time, so that the first trial of a worker does not wait."""

import time

import click

from optimizer.compilation.jit import is_compiled
from optimizer.precompile import compile_all
from tradeschool.errors import TradeschoolError
from tradeschool.views.terminal import console


@click.command(name="compile")
def compile_() -> None:
    """Compile the backtest for this processor.

    The machine code is stored once for all users who can read the installation.
    """
    if not is_compiled():
        console().print("numba is not installed: nothing to compile; backtests run about 1000 times slower")
        return
    began = time.monotonic()
    folder = compile_all()
    if folder is None:
        raise TradeschoolError(
            "machine code cannot be stored, so every worker compiles it again: make the installation folder writable "
            "for this user, or set NUMBA_CACHE_DIR to a writable folder"
        )
    console().print(f"compiled in {time.monotonic() - began:.1f} s, stored in {folder}", soft_wrap=True)
