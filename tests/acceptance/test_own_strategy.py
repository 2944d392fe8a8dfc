"""A user's own strategy is evaluated where its user names it, and nowhere else."""

import signal
from collections.abc import Callable

STRATEGY = "from optimizer.strategies.sma_cross import STRATEGY\n"


def curriculum_of(program, name: str) -> str:
    (program.folder / f"{name}.py").write_text(STRATEGY)
    path = program.write_curriculum(trials=8)
    path.write_text(path.read_text().replace('direction = "both"', f'direction = "both"\nstrategy = "{name}:STRATEGY"'))
    return str(path)


def test_workers_that_a_search_starts_know_its_strategy_and_others_have_to_be_told(
    fetched, connected: Callable[..., None]
) -> None:
    words = ("optimize", "run", "--curriculum", curriculum_of(fetched, "mine"), "--seed", "7")
    own = fetched.run(*words, "-j", "1", "--run", "own")
    pool = fetched.start("worker", "start", "-n", "1")
    try:
        connected(fetched, 1)
        refused = fetched.run(*words, "-j", "0", "--run", "refused")
    finally:
        pool.send_signal(signal.SIGTERM)
        pool.communicate(timeout=60)

    assert own.returncode == 0, own.stderr
    assert refused.returncode == 2, refused.stderr
    assert "worker start --strategy mine:STRATEGY" in refused.stderr


def test_a_name_that_is_no_strategy_s_is_refused_in_one_line(program) -> None:
    done = program.run("worker", "start", "--strategy", "mine")

    assert done.returncode == 2
    assert "work.strategies.0" in done.stderr
    assert "Traceback" not in done.stderr
