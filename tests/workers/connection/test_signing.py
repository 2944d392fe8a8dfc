"""Signing: with a key, batches and results cannot be forged; without a key, nothing changes."""

import json
import time
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from optimizer.search.trial_table import export
from tradeschool.errors import SettingsError
from tradeschool.settings.sections import WorkSettings
from workers.connection.signing import UNSIGNED, Signer
from workers.queue.dispatch import QueueDispatcher
from workers.queue.job_allowlist import TrialJob
from workers.queue.messages import FUNCTION
from workers.queue.trial_queue import results_key

KEY = "0123456789abcdef0123456789abcdef"
SIGNER = Signer(KEY.encode())
NOW = time.time()


def signed_run(plan, study):
    dispatcher = QueueDispatcher(
        plan.queue, study=plan.study, url=plan.url, job_timeout_seconds=plan.job_timeout, signer=SIGNER
    )
    return plan.run(study, dispatcher)


@given(content=st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5) | st.none(), max_size=4))
def test_a_signed_value_is_verified(content: dict[str, object]) -> None:
    text = json.dumps(content)

    assert SIGNER.check("batch", "j", SIGNER.sign("batch", "j", text)) == content
    assert SIGNER.check("batch", "j", json.loads(SIGNER.sign("batch", "j", text))) == content
    assert UNSIGNED.check("batch", "j", UNSIGNED.sign("batch", "j", text)) == content


@pytest.mark.parametrize(
    "received",
    [
        pytest.param('{"v": 1}', id="unsigned"),
        pytest.param(Signer(b"another key, long enough").sign("result", "j", '{"v": 1}'), id="another key"),
        pytest.param(SIGNER.sign("batch", "j", '{"v": 1}'), id="signed as an order"),
        pytest.param(SIGNER.sign("result", "k", '{"v": 1}'), id="signed for another job"),
        pytest.param(SIGNER.sign("result", "k", '{"v": 1}').replace('"k"', '"j"'), id="renamed"),
        pytest.param(SIGNER.sign("result", "j", '{"v": 1}', at=1.0), id="signed long ago"),
        pytest.param(SIGNER.sign("result", "j", '{"v": 1}', at=1.0).replace("1.0", str(NOW)), id="with another time"),
        pytest.param(SIGNER.sign("result", "j", '{"v": 1}').replace('\\"v\\": 1', '\\"v\\": 2'), id="changed"),
        pytest.param('{"signed": "{}", "signature": 7}', id="no text"),
        pytest.param('{"signed": "{}", "signature": "\u00fc"}', id="no hexadecimal"),
        pytest.param("[", id="no JSON"),
    ],
)
def test_an_unsigned_value_is_refused(received: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        SIGNER.check("result", "j", received, now=NOW, seconds=60.0)


def test_a_signature_is_bound_to_its_name_and_time() -> None:
    sent = SIGNER.sign("result", "j", '{"v": 1}', at=NOW)

    assert SIGNER.check("result", "j", sent, now=NOW + 59, seconds=60.0) == {"v": 1}


def test_a_key_is_not_in_a_repr() -> None:
    assert "0123" not in repr(SIGNER)


def test_a_signed_search_gives_the_same_table(plan, start_worker) -> None:
    start_worker("--key", KEY)
    study = plan.open()
    plan.finish(signed_run(plan, study))
    table = export(study.trials(), "csv")
    study.close()

    assert table == plan.table_in_process()


def test_forged_results_are_ignored(plan, make_evaluator) -> None:
    study = plan.open()
    run = signed_run(plan, study)
    run.reconcile()
    answer = make_evaluator("w").evaluate(run.ledger.batch(range(1))).model_dump_json()
    plan.queue.connection.rpush(results_key(plan.study), answer)
    forged = run.reconcile().finished
    plan.queue.connection.rpush(results_key(plan.study), SIGNER.sign("result", f"{plan.study}-0-0-a1", answer))
    honest = run.reconcile().finished
    study.close()

    assert (forged, honest) == (0, 1)


def test_a_worker_with_a_key_evaluates_no_unsigned_batch(plan, start_worker, eventually) -> None:
    start_worker("--key", KEY)
    connection = plan.queue.connection
    order = {"v": 1, "study": "x"}
    data = zlib.compress(json.dumps([FUNCTION, None, [order], {}]).encode())
    connection.hset("rq:job:forged", mapping={"data": data, "status": "queued", "origin": "trials", "timeout": "9"})
    connection.rpush("rq:queue:trials", "forged")

    eventually(lambda: TrialJob.fetch("forged", connection).is_failed)

    assert "without a valid signature" in TrialJob.fetch("forged", connection).latest_result().exc_string


@pytest.mark.parametrize("key", [None, "another key, long enough"])
def test_workers_with_another_key_end_the_run_without_failed_trials(plan, start_worker, key: str | None) -> None:
    start_worker(*(["--key", key] if key else []))
    study = plan.open()

    with pytest.raises(SettingsError, match="workers refuse trial 0: batch refused"):
        plan.finish(signed_run(plan, study))

    assert study.trials() == []
    study.close()


def test_a_key_is_read_from_a_file(tmp_path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")

    assert WorkSettings(signing_key_file=tmp_path / "key").key() == KEY.encode()
    assert WorkSettings(signing_key=SecretStr(KEY)).key() == KEY.encode()
    assert WorkSettings().key() is None


def test_a_short_key_is_refused() -> None:
    with pytest.raises(SettingsError, match="at least 16 characters, was 5"):
        WorkSettings(signing_key=SecretStr("short")).key()


def test_a_process_needs_some_memory() -> None:
    with pytest.raises(ValidationError):
        WorkSettings(trial_memory_mb=1)
