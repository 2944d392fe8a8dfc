"""Messages: batches and results are a wire format of small JSON values, validated on both sides."""

import json
from dataclasses import replace

import pytest
from pydantic import ValidationError

from optimizer.search.sampler import TrialRequest
from workers.connection.signing import Signer
from workers.queue.messages import (
    BATCHES,
    FUNCTION,
    SURROGATE_FUNCTION,
    VERSION,
    BatchResult,
    SurrogateBatch,
    TrialBatch,
)
from workers.queue.trial_queue import enqueue
from workers.work_horse.evaluator import evaluate_trials, run_surrogates


def trial_request(number: int) -> TrialRequest:
    parameters = {"fast": 10 + number, "slow": 90, "stop": 2.0}
    return TrialRequest(number=number, parameters=parameters, thresholds=(None, 1.5), known=None)


def batch_of(plan, *numbers: int, **changes: object) -> TrialBatch:
    study = plan.open()
    run = plan.run(study)
    trial_requests = tuple(
        TrialRequest(
            number=number, parameters={"fast": 10 + number, "slow": 90, "stop": 2.0}, thresholds=(None, 1.5), known=None
        )
        for number in numbers
    )
    batch = run._batch(trial_requests)
    study.close()
    return batch.model_copy(update=changes)


@pytest.fixture
def batch(plan) -> TrialBatch:
    return batch_of(plan, 3, 4)


def test_the_function_name_and_the_version_are_pinned() -> None:
    """A worker of the previous release must accept jobs of this one or refuse them by version."""
    assert f"{evaluate_trials.__module__}.{evaluate_trials.__qualname__}" == FUNCTION
    assert (FUNCTION, VERSION) == ("workers.work_horse.evaluator.evaluate_trials", 2)
    fields = {"v", "release", "study", "numbers", "parameters", "thresholds", "level", "digests"}
    assert set(TrialBatch.model_fields) == fields


def test_there_are_two_functions() -> None:
    assert f"{run_surrogates.__module__}.{run_surrogates.__qualname__}" == SURROGATE_FUNCTION
    assert {FUNCTION: TrialBatch, SURROGATE_FUNCTION: SurrogateBatch} == BATCHES
    assert set(SurrogateBatch.model_fields) == {"v", "release", "study", "numbers", "levels", "seed", "digests"}


def surrogate_batch(plan) -> SurrogateBatch:
    return SurrogateBatch(study="run-null", numbers=(3,), levels=(plan.level,), seed=7, digests={"a": "b"})


def test_a_batch_of_surrogate_markets_survives_a_json_round_trip(plan) -> None:
    batch = surrogate_batch(plan)

    assert SurrogateBatch.parse(json.loads(json.dumps(batch.model_dump(mode="json")))) == batch


@pytest.mark.parametrize(
    "change",
    [{"v": 1}, {"study": "../x"}, {"numbers": []}, {"numbers": [-1]}, {"levels": []}, {"seed": "x"}, {"url": "x"}],
)
def test_an_invalid_batch_of_surrogate_markets_is_refused(plan, change: dict) -> None:
    payload = {**surrogate_batch(plan).model_dump(mode="json"), **change}

    with pytest.raises(ValueError, match="not a batch of version 2"):
        SurrogateBatch.parse(payload)


def test_the_levels_of_surrogate_markets_have_one_holdout_period(plan) -> None:
    """It is the period that the worker closes for all reads of the job."""
    batch = surrogate_batch(plan).model_dump(mode="json")
    other = {**batch["levels"][0], "holdout": {"start": "2023-01-01", "end": "2023-06-01"}}

    with pytest.raises(ValueError, match="all levels must have the same holdout period"):
        SurrogateBatch.parse({**batch, "levels": [*batch["levels"], other]})


def test_the_request_digest_depends_on_everything_of_a_surrogate_market(plan) -> None:
    batch = surrogate_batch(plan)
    others = [{"numbers": (4,)}, {"seed": 8}, {"digests": {}}, {"levels": batch.levels * 2}, {"study": "other-null"}]

    found = {batch.model_copy(update=change).request_digests() for change in ({}, *others)}
    assert len(found) == len(others) + 1


def test_a_batch_survives_a_json_round_trip(batch: TrialBatch) -> None:
    assert TrialBatch.parse(json.loads(json.dumps(batch.model_dump(mode="json")))) == batch


def test_a_batch_contains_no_secret_and_no_path(plan, batch: TrialBatch) -> None:
    text = batch.model_dump_json()

    assert plan.url not in text
    assert str(plan.folder) not in text


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"v": 1}, id="another version"),
        pytest.param({"study": "../x"}, id="a path as study"),
        pytest.param({"numbers": [3]}, id="too few numbers"),
        pytest.param({"numbers": [-1, 0]}, id="a negative number"),
        pytest.param({"parameters": [{"fast": float("inf")}, {}]}, id="an infinite parameter"),
        pytest.param({"parameters": [{"fast": [1]}, {}]}, id="a list as parameter"),
        pytest.param({"thresholds": [["high"], []]}, id="a text as threshold"),
        pytest.param({"level": {}}, id="no level"),
        pytest.param({"function": "os.system"}, id="an unknown field"),
    ],
)
def test_a_payload_of_unknown_format_is_refused(batch: TrialBatch, make_evaluator, change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not a batch of version 2"):
        evaluate_trials(json.dumps(batch.model_dump(mode="json") | change).encode(), make_evaluator("w"))


def test_every_result_carries_its_request(batch: TrialBatch, make_evaluator) -> None:
    result = BatchResult.parse(evaluate_trials(batch.model_dump_json().encode(), make_evaluator("w")))

    assert [trial.number for trial in result.trials] == [3, 4]
    assert [trial.request_digest for trial in result.trials] == list(batch.request_digests())
    assert all(trial.evaluation for trial in result.trials)


def test_a_request_is_the_same_alone_and_in_a_batch(plan, batch: TrialBatch) -> None:
    assert batch_of(plan, 4).request_digests()[0] == batch.request_digests()[1]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"parameters": ({"fast": 14, "slow": 90, "stop": 2.5},) * 2}, id="parameters"),
        pytest.param({"thresholds": ((None, 1.6),) * 2}, id="thresholds"),
        pytest.param({"digests": {"a": "b"}}, id="candles"),
        pytest.param({"study": "other"}, id="study"),
    ],
)
def test_every_input_of_an_evaluation_changes_its_request(batch: TrialBatch, change: dict[str, object]) -> None:
    assert batch.model_copy(update=change).request_digests()[1] != batch.request_digests()[1]


@pytest.mark.parametrize("digest", ["d2", "missing"])
def test_a_worker_with_other_candles_refuses_a_batch(batch: TrialBatch, make_evaluator, digest: str) -> None:
    answer = make_evaluator("w", digest).evaluate(batch)

    assert answer.trials == ()
    assert answer.refused is not None
    assert "expected d1, was" in answer.refused


def test_a_level_is_prepared_once(batch: TrialBatch, make_evaluator) -> None:
    evaluator, reads = make_evaluator("w"), []
    first = evaluator.make_ready(batch, lambda: reads.append(1))

    assert evaluator.make_ready(batch, lambda: reads.append(1)) is first
    assert reads == [1]


def test_a_job_id_is_unique(plan, batch: TrialBatch) -> None:
    assert enqueue(plan.queue, "a-3-4-a1", batch, timeout_seconds=30, signer=Signer())
    assert not enqueue(plan.queue, "a-3-4-a1", batch, timeout_seconds=30, signer=Signer())
    assert plan.queue.connection.llen("rq:queue:trials") == 1


def test_a_result_with_an_unknown_field_is_refused() -> None:
    with pytest.raises(ValidationError):
        BatchResult.parse({"v": 2, "study": "x", "worker": "w", "extra": 1})


def test_another_level_title_changes_the_request(plan, batch: TrialBatch) -> None:
    assert batch_of(replace(plan, title="other", study="s2"), 4).request_digests()[0] != batch.request_digests()[1]
