"""Trials a second: ours beside what others do with the same trials, in turns."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from peers import CACHE, Peer
from process import environment
from table import Row

PROGRAMS = Path(__file__).parent / "programs"
QUIET = {
    "PYTHONWARNINGS": "ignore",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "PYTHONPATH": str(PROGRAMS),
}

JOBLIB = Peer(name="queue-joblib", program="joblib_batches.py", requirements=("optuna==5.0.0", "joblib==1.6.0"))
RAY = Peer(name="queue-ray", program="ray_tune.py", requirements=("ray[tune]==2.60.0", "optuna==5.0.0"))
DISTRIBUTED = Peer(
    name="queue-distributed",
    program="optuna_distributed_pool.py",
    requirements=("optuna-distributed==0.7.0", "optuna==5.0.0"),
)
USUAL = Peer(name="queue-rq", program="rq_optuna.py", requirements=("optuna==5.0.0", "rq==3.0.0"))
PEERS = {
    "joblib batches, as freqtrade does": JOBLIB,
    "optuna-distributed": DISTRIBUTED,
    "Ray Tune with OptunaSearch": RAY,
    "the usual RQ + Optuna": USUAL,
}
AHEAD = {JOBLIB.name: 7, RAY.name: 8, DISTRIBUTED.name: 9, USUAL.name: 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is searched."""

    name: str
    cost: str
    workers: int
    trials: int
    slow_trials: int
    """Of those who take long for each."""
    ideal: float | None = None
    """Trials a second if nothing but the trials themselves took time."""
    lag: int = 8
    size: int = 1
    """Trials a job, of ours."""
    target: int = 0
    wanted: float | None = None
    """Trials a second, or share of the ideal where there is one."""


FREE = Load(name="no cost, 2 workers", cost="none", workers=2, trials=300, slow_trials=40, target=1, wanted=100)
FREE_FOUR = Load(
    name="no cost, 2 workers, 4 trials per job",
    cost="none",
    workers=2,
    trials=600,
    slow_trials=0,
    size=4,
    target=2,
    wanted=200,
)
SLEEP = Load(
    name="500 ms of sleep, 8 workers",
    cost="sleep 0.5",
    workers=8,
    trials=160,
    slow_trials=48,
    ideal=16,
    target=3,
    wanted=0.93,
)
MANY = Load(
    name="500 ms of sleep, 32 workers, lag 64",
    cost="sleep 0.5",
    workers=32,
    trials=1280,
    slow_trials=0,
    ideal=64,
    lag=64,
    target=4,
    wanted=0.85,
)
MOST = Load(
    name="500 ms of sleep, 64 workers, lag 64",
    cost="sleep 0.5",
    workers=64,
    trials=2000,
    slow_trials=0,
    ideal=128,
    lag=64,
    target=5,
    wanted=0.70,
)
WORK = Load(name="50 ms of CPU, 2 workers", cost="cpu 0.05", workers=2, trials=200, slow_trials=40, ideal=40, target=0)
WORK_FOUR = Load(
    name="50 ms of CPU, 2 workers, 4 trials per job",
    cost="cpu 0.05",
    workers=2,
    trials=200,
    slow_trials=0,
    ideal=40,
    size=4,
    target=6,
    wanted=0.88,
)


def ours(load: Load, folder: Path, url: str) -> float:
    """Trials a second of ours."""
    words = [load.cost, load.trials, load.workers, load.lag, load.size, f"sqlite:///{folder}/study.db"]
    command = [sys.executable, PROGRAMS / "ours.py", "conduct", url, *words]
    return _rate([str(word) for word in command], {})


def theirs(peer: Peer, load: Load, folder: Path, socket: str) -> float:
    """Trials a second of a peer."""
    trials = load.trials if peer is JOBLIB else load.slow_trials
    words = [load.cost, trials, load.workers, *([folder, socket] if peer is USUAL else [])]
    command = [peer.python, PROGRAMS / peer.program, *words]
    return _rate([str(word) for word in command], QUIET)


def beside(loads: Sequence[Load], folder: Path, url: str, rounds: int) -> list[Row]:
    """Ours and all peers with the first load, ours alone with the others, in turns."""
    socket = url.removeprefix("unix://")
    takers: dict[str, Callable[[], float]] = {
        f"ours, {load.name}": lambda load=load: ours(load, folder, url)  # type: ignore[misc]  # bound now
        for load in loads
    }
    for name, peer in PEERS.items():
        peer.install()
        takers[f"{name}, {loads[0].name}"] = lambda peer=peer: theirs(peer, loads[0], folder, socket)  # type: ignore[misc]
    found: dict[str, list[float]] = {name: [] for name in takers}
    for turn in range(rounds):
        for name, take in takers.items():
            if turn and name.startswith(("Ray", "the usual")):
                continue  # so much slower that one turn says enough
            found[name].append(take())
    return _rows(loads, {name: statistics.median(rates) for name, rates in found.items()})


def alone(load: Load, folder: Path, url: str, rounds: int) -> list[Row]:
    """Ours with one load."""
    rates = [ours(load, folder, url) for _ in range(rounds)]
    return [_own_row(load, statistics.median(rates))]


def _rows(loads: Sequence[Load], rates: dict[str, float]) -> list[Row]:
    own = [_own_row(load, rates[f"ours, {load.name}"]) for load in loads]
    best = max(rates[f"ours, {load.name}"] for load in loads)
    rows = []
    for name, peer in PEERS.items():
        rate = rates[f"{name}, {loads[0].name}"]
        what = f"{name}, {loads[0].name}"
        one = rates[f"ours, {loads[0].name}"]
        reached = f"{rate:.1f} trials/s; ours {one / rate:.2f} x, {best / rate:.2f} x at best"
        rows.append(Row(target=AHEAD[peer.name], what=what, wanted="ours ahead", reached=reached, met=best > rate))
    return own + rows


def _own_row(load: Load, rate: float) -> Row:
    share = rate / load.ideal if load.ideal else None
    reached = f"{rate:.1f} trials/s" + (f" ({share:.0%})" if share is not None else "")
    if load.wanted is None:
        return Row(target=load.target, what=f"ours, {load.name}", wanted="", reached=reached)
    wanted = f">= {load.wanted:.0%}" if load.ideal else f">= {load.wanted:g} trials/s"
    met = (share if share is not None else rate) >= load.wanted
    return Row(target=load.target, what=f"ours, {load.name}", wanted=wanted, reached=reached, met=met)


def _rate(command: Sequence[str], changes: dict[str, str]) -> float:
    surroundings = environment(changes) if not changes else {**os.environ, **changes}
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, timeout=240, check=False)
    if done.returncode:
        raise RuntimeError(f"{command}: {done.stderr[-2000:]}")
    return float(json.loads(done.stdout.strip().splitlines()[-1])["rate"])


__all__ = ["CACHE", "FREE", "FREE_FOUR", "MANY", "MOST", "SLEEP", "WORK", "WORK_FOUR", "alone", "beside"]
