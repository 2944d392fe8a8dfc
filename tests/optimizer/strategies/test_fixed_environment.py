"""A user strategy draws the same random numbers in every dataset and trial, and other random states are unchanged."""

import random

import numpy as np

from optimizer.strategies.fixed_environment import surroundings


def draw() -> tuple[float, float]:
    return random.random(), float(np.random.random())


def drawn(strategy: str) -> tuple[float, float]:
    with surroundings(strategy):
        return draw()


def test_a_user_strategy_gets_the_same_random_state_each_call() -> None:
    random.seed(3)
    np.random.seed(4)

    assert drawn("mine:X") == drawn("mine:X")


def test_the_random_state_of_the_caller_is_restored() -> None:
    random.seed(3)
    np.random.seed(4)
    expected = [draw(), draw()]
    random.seed(3)
    np.random.seed(4)
    found = [draw()]
    drawn("mine:X")
    found.append(draw())

    assert found == expected


def test_a_built_in_strategy_runs_without_a_fixed_environment() -> None:
    random.seed(3)

    assert drawn("sma_cross") != drawn("sma_cross")
