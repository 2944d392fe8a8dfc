"""Which process runs users' samplers: this one, or another that `samplers_run_by` names."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Remote = Callable[[str, str, dict[str, object]], Any]
"""Runs a step of a sampler in its own process: name, step (`sample` or `check_sampler`) and facts."""
_remote: Remote | None = None


@contextmanager
def samplers_run_by(remote: Remote) -> Iterator[None]:
    """Run users' samplers by `remote` until the block ends, in all threads of this process."""
    global _remote
    before, _remote = _remote, remote
    try:
        yield
    finally:
        _remote = before


def remote_samplers() -> Remote | None:
    """Return what runs users' samplers; None for this process."""
    return _remote
