"""`tradeschool compile`: machine code ahead of time, so that no worker's first trial waits for it."""

import time

import click

from optimizer.backtest.jit import is_compiled
from optimizer.compilation import compile_all
from tradeschool.cli.context import console
from tradeschool.errors import TradeschoolError


@click.command(name="compile")
def compile_() -> None:
    """Compile the backtest for this processor, once for all users who can read the installation."""
    if not is_compiled():
        console().print("numba is not installed: there is nothing to compile, and a backtest takes 1000 times longer")
        return
    began = time.monotonic()
    folder = compile_all()
    if folder is None:
        raise TradeschoolError(
            "the machine code cannot be kept, so every worker compiles it again: let this user write the folder of the "
            "installation, or set NUMBA_CACHE_DIR to a folder that can be written"
        )
    console().print(f"compiled in {time.monotonic() - began:.1f} s, kept in {folder}", soft_wrap=True)
