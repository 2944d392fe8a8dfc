"""Wrong or changed clocks do not change a run: each wall clock is compared only with itself."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from optimizer.search.trial_table import export
from tests.workers.fake_clocks import MISSING, WrongClock, library

SECONDS, MINUTES, DAYS = 30.0, 600.0, 86_400.0
WORKERS = 3


@pytest.fixture
def clocks(tmp_path: Path) -> Callable[[str], WrongClock]:
    """Clocks by name; each is right until it is set."""
    if library() is None:
        pytest.skip(MISSING)

    def clock(name: str) -> WrongClock:
        made = WrongClock(tmp_path / f"{name}.clock")
        if not made.file.exists():
            made.set(0)
        return made

    return clock


@pytest.mark.parametrize(
    ("first", "then"),
    [
        pytest.param(
            {"coordinator": SECONDS, "worker0": SECONDS, "worker1": -MINUTES, "worker2": DAYS},
            {"coordinator": -DAYS, "worker0": -SECONDS, "worker1": MINUTES, "worker2": -DAYS},
            id="coordinator and workers",
        ),
        pytest.param({"server": -MINUTES}, {"server": DAYS, "coordinator": MINUTES}, id="server"),
    ],
)
def test_wrong_clocks_lose_no_trial(
    plan, volatile_server, start_interpreter, eventually, tmp_path, clocks, first, then
) -> None:
    """Each trial lasts several heartbeats, and clocks are changed during trials."""
    counts = tmp_path / "counts"
    slow = replace(plan, url=volatile_server.url, title="sleep 1.5", trials=6, lag=3)
    for name, seconds in first.items():
        clocks(name).set(seconds)
    volatile_server.start(clocks("server").environment)
    for number in range(WORKERS):
        environment = {**clocks(f"worker{number}").environment, "BENCH_COUNTS": str(counts)}
        start_interpreter("worker_process.py", "--url", slow.url, **environment)
    with ExitStack() as stack:
        study = slow.open()
        stack.callback(study.close)
        coordinator = start_interpreter("coordinator_process.py", slow.as_json(), **clocks("coordinator").environment)
        eventually(lambda: len(study.trials()) >= WORKERS)
        for name, seconds in then.items():
            clocks(name).set(seconds)
        assert coordinator.wait(timeout=120) == 0
        found = export(study.trials(), "csv")

    assert found == slow.table_in_process()
    assert len(counts.read_text().splitlines()) <= slow.trials + WORKERS * ("server" in then)
