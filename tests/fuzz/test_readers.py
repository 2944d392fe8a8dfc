"""Readers of foreign input return a value or raise a product error, and nothing else."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.factories.folders import memory_folder
from tests.fuzz.targets import targets

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "40"))
"""Inputs a reader; `scripts/fuzz` sets more, and draws other ones each time."""
NAMES = sorted(targets(Path("unused")))


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder in memory if available, because each input is a file."""
    with memory_folder() as made:
        yield made


@pytest.mark.parametrize("name", NAMES)
def test_a_valid_input_is_read(folder: Path, name: str) -> None:
    """Valid seeds ensure that damaged inputs reach the later checks."""
    target = targets(folder)[name]

    for seed in target.seeds:
        assert target.read(seed) is not None


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_input_is_read_or_refused(folder: Path, name: str) -> None:
    target = targets(folder)[name]
    outcomes: list[str] = []

    @settings(
        max_examples=EXAMPLES,
        derandomize="FUZZ_EXAMPLES" not in os.environ,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def read(data: st.DataObject) -> None:
        body = data.draw(target.inputs())
        try:
            target.read(body)
            outcomes.append("read")
        except target.errors as error:
            assert str(error), "an error without a word"
            outcomes.append(type(error).__name__)

    read()
    assert len(outcomes) >= EXAMPLES // 2
