"""A peer at work in an environment of its own, asked again and again."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

PROGRAMS = Path(__file__).parent / "programs"
CACHE = Path.home() / ".cache" / "tradeschool-bench"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Another program that trades signals."""

    name: str
    requirements: tuple[str, ...]

    @property
    def python(self) -> Path:
        """The interpreter of its environment."""
        return CACHE / self.name / "bin" / "python"

    def install(self) -> str:
        """Make its environment where there is none yet, which takes the network once; its version."""
        if not self.python.exists():
            subprocess.run([sys.executable, "-m", "venv", CACHE / self.name], check=True)
            subprocess.run([self.python, "-m", "pip", "install", "--quiet", *self.requirements], check=True)
        distribution = self.requirements[0].split("==")[0]
        code = f"import importlib.metadata as m; print(m.version({distribution!r}))"
        told = subprocess.run([self.python, "-c", code], check=True, capture_output=True, text=True)
        return f"{distribution} {told.stdout.strip()}"

    @contextmanager
    def at(self, task: Path) -> Iterator["AtWork"]:
        """The peer with a task before it."""
        command = [self.python, PROGRAMS / f"{self.name}_loop.py", task, task.with_suffix(f".{self.name}.npz")]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            work = AtWork(process, task.with_suffix(f".{self.name}.npz"))
            work.ready()
            yield work
            process.stdin.close()


class AtWork:
    """A running peer."""

    def __init__(self, process: subprocess.Popen[str], answer: Path) -> None:
        self._process, self._answer = process, answer

    def ready(self) -> None:
        """Wait until it has read its task."""
        self._said()

    def seconds(self) -> float:
        """Have it run once; how long that took."""
        return float(self._ask("go")["seconds"])

    def trades(self) -> dict[str, np.ndarray]:
        """Have it run once; what it traded."""
        self._ask("trades")
        return dict(np.load(self._answer))

    def _ask(self, word: str) -> dict[str, float]:
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        return self._said()

    def _said(self) -> dict[str, float]:
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(f"{self._process.args} ended: {self._process.wait()}")


BACKTESTING = Peer(name="backtesting", requirements=("backtesting==0.6.6",))
VECTORBT = Peer(name="vectorbt", requirements=("vectorbt==1.2.0",))
BACKTRADER = Peer(name="backtrader", requirements=("backtrader==1.9.78.123", "numpy"))
NAUTILUS = Peer(name="nautilus", requirements=("nautilus_trader==1.221.0",))
PEERS = (BACKTESTING, VECTORBT, BACKTRADER, NAUTILUS)
