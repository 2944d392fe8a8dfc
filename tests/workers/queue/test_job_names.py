"""Names tell what they are about, and unknown ones tell nothing wrong."""

import pytest

from workers.queue.job_names import (
    about_job,
    about_study,
    attempt_of,
    is_null_study,
    level_of,
    null_study,
    study_of,
    trials_of,
)


@pytest.mark.parametrize(
    ("job", "trials", "level", "attempt"),
    [
        ("20261125-101010-s7-L1-a1-3-3-a1", "3", "1", 1),
        ("r-L4-a12-16-19-a2", "16-19", "4", 2),
        ("r-L1-L2-a1-1-2-a1", "1-2", "2", 1),
        ("r-L4-a2-w3-16-19-a2", "16-19", "4", 2),
        ("my-run-null-12-12-a3", "surrogate market 12", "", 3),
        ("nonsense", "nonsense", "", 1),
        ("", "", "", 1),
    ],
)
def test_a_job_name_has_trials_level_and_attempt(job: str, trials: str, level: str, attempt: int) -> None:
    assert (trials_of(job), level_of(job), attempt_of(job)) == (trials, level, attempt)


def test_log_lines_carry_run_level_and_trial() -> None:
    assert about_job("my-run-L2-a1-3-3-a1") == {"run": "my-run", "level": "2", "trial": 3}
    assert about_job("my-run-L2-a1-4-7-a2")["trial"] == "4-7"
    assert about_study("my-run-L2-a1") == {"run": "my-run", "level": "2"}
    assert about_study("my-run-L2-a1-w4") == {"run": "my-run", "level": "2"}
    assert study_of("my-run-L2-a1-w4-0-3-a1") == "my-run-L2-a1-w4"


def test_a_null_test_has_a_study_of_its_own() -> None:
    assert null_study("my-run") == "my-run-null"
    assert is_null_study("my-run-null")
    assert not is_null_study("my-run-L1-a1")
    assert study_of("my-run-null-3-3-a1") == "my-run-null"
    assert about_job("my-run-null-3-3-a1") == {"run": "my-run", "surrogate": "3"}
    assert about_study("my-run-null") == {"run": "my-run"}


def test_an_unknown_name_is_shown_unchanged() -> None:
    assert about_job("nonsense") == {"job": "nonsense"}
    assert about_study("nonsense") == {"study": "nonsense"}
