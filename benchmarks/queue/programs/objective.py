"""What every program here evaluates: six parameters, four steps, three constraints; cheap, or as dear as is said.

It knows nothing of ours, so that each peer can import it in an environment of its own.
"""

import math
import time

WHOLE = {"fast": (5, 50), "slow": (60, 200), "atr": (7, 28)}
REAL = {"stop": (1.0, 5.5), "target": (1.0, 8.0), "risk": (0.1, 1.0)}
STEPS = 4


def evaluate(parameters: dict[str, float]) -> tuple[list[float], float, list[float]]:
    """Value after each step, the value, and three constraints; zero or less is feasible."""
    fast, slow, stop = (float(parameters[name]) for name in ("fast", "slow", "stop"))
    value = -((fast - 20) ** 2) / 100 - (slow - 90) ** 2 / 1000 - math.sin(stop) - (parameters["target"] - 3) ** 2 / 5
    steps = [value - parameters["risk"] / (step + 1) for step in range(STEPS - 1)]
    return [*steps, value], value, [stop - 4, -1.0, fast - 45]


def spend(cost: str) -> None:
    """`none`, `cpu 0.05` or `sleep 0.5`: seconds that each trial takes."""
    what, _, seconds = cost.partition(" ")
    if what == "sleep":
        time.sleep(float(seconds))
    elif what == "cpu":
        end = time.process_time() + float(seconds)
        while time.process_time() < end:
            pass
