"""Metrics of a trial are equal in all outputs, and trials can be reproduced."""

import asyncio
import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from optimizer.level.constraints import Analysis
from optimizer.level.metric_names import METRICS
from optimizer.level.risk import Risk
from optimizer.runs.live_reader import StudyWatch
from optimizer.validation.holdout_log import read_holdout_log
from optimizer.validation.labels import label
from tests.factories.in_process_runs import ALMOST, ANY, NONE, RunHarness, level, run_harness_in, seal_candles
from tradeschool.store.frame_store import FrameStore
from workers.coordinator.run.run_persistence import read_run
from workers.monitoring.overview import Overview, Sources
from workers.monitoring.run_status import read_run_status
from workers.web import app
from workers.web.auth import Auth

Command = Callable[..., tuple[int, str, str]]
Told = tuple[str, str, str, str, object]
"""Who tells it, the level and trial, the part, the metric, and its value."""
PARTS = ("train", "validation", "test")
STUDY = "run-L1-a1"
DEADLINE = 60.0  # seconds


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> RunHarness:
    """A finished run: the first level, with a risk budget, passed, the second failed twice; some trials were pruned."""
    folder = tmp_path_factory.mktemp("figures")
    seal_candles(FrameStore(folder / "data"))
    made = run_harness_in(folder, folder / "data")
    fields = {"risk": Risk(target_volatility=0.02), "drawdown_limit": 0.2}
    first = level("1", ANY, trials=12, analyses=(Analysis.STABILITY,)).model_copy(update=fields)
    made.begin(first, level("2", ALMOST, retries=1))
    made.run()
    made.begin(level("1", NONE, trials=2, retries=0), name="none")
    made.run("none")
    return made


@pytest.fixture
def ask(harness: RunHarness, command: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run a command on that run."""
    for name, value in harness.environment.items():
        monkeypatch.setenv(name, value)
    return command


@pytest.fixture(scope="module")
def served(harness: RunHarness) -> dict[str, str]:
    """Responses of API and metrics by path; the metrics show the newest run."""
    addresses = ("/api/runs/run", "/api/runs/run/levels/1/attempts/1/trials", "/metrics")

    async def ask_all() -> dict[str, str]:
        sources = Sources(redis_url="unix:///nowhere/valkey.sock", context=harness.context, datasets=[])
        runner = await app.serve(app.make_app(Overview(sources, is_quiet=True), Auth(token=None)), "127.0.0.1", 0)
        async with aiohttp.ClientSession(app.address(runner)) as session:
            end = time.monotonic() + DEADLINE
            while True:
                found = {each: await (await session.get(each)).text() for each in addresses}
                if "tradeschool_level_gate_value{" in found["/metrics"] or time.monotonic() > end:
                    break
        await runner.cleanup()
        return found

    return asyncio.run(ask_all())


def readings(who: str, key: str, gate: list[dict[str, object]]) -> Iterator[Told]:
    for each in gate:
        yield who, key, "validation", str(each["name"]), each["value"]


def of_files(harness: RunHarness) -> Iterator[Told]:
    """Metrics of each level's winner from the files of the last attempt."""
    run, report = harness.file("run.json"), harness.file("report.json")
    for name in ("1", "2"):
        verdict = [each["verdict"] for each in run["attempts"] if each["level"] == name][-1]
        key = f"{name}/{verdict['trial']}"
        told = next(each for each in report["levels"] if each["level"] == name)
        for who, parts in (
            ("metrics.json", harness.file(f"{name}/metrics.json")),
            ("report.json metrics", told["metrics"]),
            ("run.json figures", verdict["figures"]),
        ):
            for part in PARTS:
                yield from ((who, key, part, metric, value) for metric, value in parts[part].items())
        yield from readings("gate.json", key, harness.file(f"{name}/gate.json")["gate"])
        yield from readings("report.json gate", key, told["gate"])
        yield from readings("run.json readings", key, verdict["readings"])
        lineage = [each for each in harness.file("lineage.json")["attempts"] if each["level"] == name][-1]
        yield from readings("lineage.json", key, lineage["verdict"]["gate"])
    yield from of_evidence(report["evidence"])
    stability = harness.file("1/stability.json")
    yield "stability.json", f"1/{harness.file('1/gate.json')['trial']}", "validation", "sharpe", stability["sharpe"]


def of_evidence(evidence: dict[str, object]) -> Iterator[Told]:
    key = f"{evidence['level']}/{evidence['trial']}"
    for each in evidence["excess"]:
        yield "report.json excess", key, each["part"], "sharpe", each["sharpe"]
    yield "report.json deflation", key, "train", "sharpe", evidence["deflation"]["sharpe"]
    as_it_is = evidence["robustness"][0]
    for metric in ("sharpe", "profit_factor", "max_drawdown_intrabar", "trades"):
        yield "report.json robustness cases", key, "validation", metric, as_it_is[metric]


def of_commands(ask: Command) -> Iterator[Told]:
    status = json.loads(ask("optimize", "status", "run", "--json")[1])
    last = {each["level"]: each for each in status["levels"]}
    for name, each in last.items():
        yield from readings("optimize status", f"{name}/{each['winner']}", each["gate"])
    for name in last:
        ask("optimize", "export", "run", "--level", name, "--format", "json", "--out", "table.json")
        for row in json.loads(Path("table.json").read_text()):
            yield from of_row("optimize export", name, row)
    winner = last["1"]["winner"]
    yield from of_row("optimize show", "1", json.loads(ask("optimize", "show", "run", str(winner), "--json")[1]))
    for part in PARTS:
        told = json.loads(ask("backtest", "--run", "run", "--part", part, "--json")[1])
        yield from ((f"backtest --run {part}", f"1/{winner}", part, name, told["metrics"][name]) for name in METRICS)


def of_row(who: str, name: str, row: dict[str, object]) -> Iterator[Told]:
    for column, value in row.items():
        if column.startswith("metric_"):
            yield who, f"{name}/{row['number']}", "train", column.removeprefix("metric_"), value


def of_page(served: dict[str, str]) -> Iterator[Told]:
    for each in json.loads(served["/api/runs/run"])["levels"]:
        yield from readings("/api/runs/run", f"{each['level']}/{each['winner']}", each["gate"])


def plain(value: object) -> float | None:
    """Map null, NaN and infinity to one value."""
    number = None if value is None else float(value)  # type: ignore[arg-type]
    return number if number is not None and math.isfinite(number) else None


def test_a_metric_has_the_same_value_in_all_outputs(harness: RunHarness, ask: Command, served: dict[str, str]) -> None:
    told: dict[tuple[str, str, str], dict[str, float | None]] = defaultdict(dict)
    for who, key, part, metric, value in (*of_files(harness), *of_commands(ask), *of_page(served)):
        told[key, part, metric][who] = plain(value)

    assert not {what: values for what, values in told.items() if len({*values.values()}) > 1}
    winner = f"1/{harness.file('1/gate.json')['trial']}"
    for metric in METRICS:
        for part, least in (("train", 6), ("validation", 4), ("test", 4)):
            assert len(told[winner, part, metric]) >= least, (part, metric)
    assert len(told[winner, "validation", "max_drawdown_intrabar"]) == 10
    evidence = harness.file("report.json")["evidence"]
    examined = f"{evidence['level']}/{evidence['trial']}"
    assert "report.json robustness cases" in told[examined, "validation", "max_drawdown_intrabar"]
    assert told[winner, "train", "max_drawdown_intrabar"] != told[winner, "train", "max_drawdown"]


def test_counts_and_best_trial_are_equal_in_all_outputs(
    harness: RunHarness, ask: Command, served: dict[str, str]
) -> None:
    ask("optimize", "export", "run", "--format", "json", "--out", "table.json")
    rows = json.loads(Path("table.json").read_text())
    counts = {state: sum(row["state"] == state for row in rows) for state in ("complete", "pruned")}
    (best,) = json.loads(ask("optimize", "best", "run", "-n", "1", "--json")[1])
    status = json.loads(ask("optimize", "status", "run", "--json")[1])["levels"][0]
    page = json.loads(served["/api/runs/run"])["levels"][0]["attempts"][0]
    table = json.loads(served["/api/runs/run/levels/1/attempts/1/trials"])
    with closing(StudyWatch(harness.context.storage_url, piece=5)) as studies:
        seen = read_run_status(harness.context, read_run(harness.context, "run"), studies, 0.0).attempts[0].counts

    assert len(rows) == 12
    assert all(counts.values())
    assert {state: status[state] for state in counts} == {state: page[state] for state in counts} == counts
    assert (seen.complete, seen.pruned, seen.finished) == (counts["complete"], counts["pruned"], 12)
    assert status["finished"] == page["finished"] == len(table["trials"]) == 12
    assert harness.file("report.json")["levels"][0]["finished"] == 12
    assert best["value"] == status["best_value"] == page["best"]["value"] == rows[best["trial"]]["value"]
    assert seen.best_value == best["value"]
    assert best["trial"] == status["best_trial"] == page["best"]["number"]


def test_printed_tables_round_the_same_values(harness: RunHarness, ask: Command) -> None:
    figures = harness.file("1/metrics.json")
    rows = [line.split("│")[1:-1] for line in ask("optimize", "status", "run")[1].splitlines() if "│" in line]
    shown = {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in reversed(rows) if len(cells) == 8}
    page = (harness.context.folder("run") / "report.html").read_text()
    for metric in ("win_rate", "sharpe", "max_drawdown_intrabar", "profit_factor", "trades"):
        form = "{:,.0f}" if metric == "trades" else "{:.3f}"
        train, validation, test = (form.format(figures[part][metric]) for part in PARTS)

        assert (shown[metric][0], shown[metric][1], shown[metric][6]) == (train, validation, test)
    for metric in ("max_drawdown", "max_drawdown_intrabar"):
        cells = "".join(f"<td>{100 * figures[part][metric]:.1f} %</td>" for part in PARTS)

        assert f'">{label(metric)}</th>{cells}' in page


def test_metrics_and_gate_use_the_same_names(served: dict[str, str]) -> None:
    families = {each.name: each.samples for each in text_string_to_metric_families(served["/metrics"])}
    names = {sample.labels["criterion"] for sample in families["tradeschool_level_gate_target"]}

    assert {"max_drawdown_intrabar", "trades", "sharpe"} <= names
    assert "max_drawdown" not in names


@pytest.mark.parametrize("part", PARTS)
def test_any_trial_is_reproduced_and_holdout_looks_are_logged(harness: RunHarness, ask: Command, part: str) -> None:
    winner = harness.file("1/gate.json")["trial"]
    other = next(row["number"] for row in rows_of(ask) if row["state"] == "complete" and row["number"] != winner)
    before = read_holdout_log(harness.context.folder("run"))

    code, out, said = ask("backtest", "--run", "run", "--trial", str(other), "--part", part, "--json")
    looks = [(line["part"], line["trials"]) for line in read_holdout_log(harness.context.folder("run"))[len(before) :]]

    assert code == 0, said
    told = json.loads(out)
    assert (told["trial"], told["is_winner"], told["differences"]) == (other, False, [])
    assert looks == ([] if part == "train" else [(part, [other])])
    assert (f"{part} of level 1 is opened with trial {other}'s parameters" in said) is (part != "train")
    assert ("all metrics equal the recorded ones" in said) is (part == "train")


def rows_of(ask: Command, number: str = "1") -> list[dict[str, object]]:
    ask("optimize", "export", "run", "--level", number, "--format", "json", "--out", "table.json")
    found: list[dict[str, object]] = json.loads(Path("table.json").read_text())
    return found


def test_a_pruned_trial_is_reproduced_up_to_its_last_step(ask: Command) -> None:
    pruned = next(row for row in rows_of(ask) if row["state"] == "pruned")

    code, out, said = ask("backtest", "--run", "run", "--trial", str(pruned["number"]), "--json")

    told = json.loads(out)
    assert code == 0, said
    assert {f"metric_{name}": plain(told["metrics"][name]) for name in METRICS}.items() <= pruned.items()
    assert len(told["datasets"]) == sum(pruned[f"intermediate_{step}"] is not None for step in (0, 1))
    assert f"trial {pruned['number']} was pruned on train after {len(told['datasets'])} of 2 datasets" in said


def test_each_attempt_of_a_level_is_reproduced(ask: Command) -> None:
    for attempt in ("1", "2"):
        code, _, said = ask("backtest", "--run", "run", "--level", "2", "--attempt", attempt, "--part", "validation")

        assert (code, "all metrics equal the recorded ones" in said) == (0, attempt in said)


def test_a_trial_of_a_retry_shows_what_its_attempt_changed(harness: RunHarness, ask: Command) -> None:
    retry = read_run(harness.context, "run").attempt("2", 2).retry
    words = ("optimize", "show", "run", "0", "--level", "2", "--attempt")

    shown = json.loads(ask(*words, "2", "--json")[1])["retry"]
    assert (shown["reason"], shown["trials"]) == (retry.reason, retry.trials)
    assert f"attempt 2: {retry.reason}" in " ".join(ask(*words, "2")[1].split())
    assert "retry" not in json.loads(ask(*words, "1", "--json")[1])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--run", "nosuch"), "no run 'nosuch'"),
        (("--run", "run", "--level", "9"), "unknown level '9'"),
        (("--run", "run", "--attempt", "7"), "run run has not started attempt 7 at level 1"),
        (("--run", "run", "--trial", "99"), "has 12 trials, numbered from 0"),
        (("--run", "run", "--fraction", "0.5", "--dataset", "x"), "cannot be combined with --fraction, --dataset"),
        (("--run", "run", "-p", "fast=3"), "cannot be combined with -p"),
        (("--part", "test", "--trial", "3"), "--part, --trial: these options need a run"),
        (("--run", "none"), "has no winner: no trial met all constraints on train"),
        (("--run", "none", "--trial", "0", "--part", "test"), "stays closed: no trial met all constraints on train"),
    ],
)
def test_an_unreproducible_trial_is_refused(ask: Command, words: tuple[str, ...], told: str) -> None:
    code, _, said = ask("backtest", *words)

    assert code == 2
    assert told in " ".join(said.split())


def test_best_params_give_the_metrics_of_the_run(harness: RunHarness, ask: Command) -> None:
    file = harness.context.folder("run") / "1" / "best_params.json"

    code, out, said = ask("backtest", "--parameters", str(file), "--json")

    assert code == 0, said
    figures, recorded = json.loads(out)["metrics"], harness.file("1/metrics.json")["train"]
    assert {name: plain(figures[name]) for name in METRICS} == {name: recorded[name] for name in METRICS}
    assert said.startswith(
        f"same setup as trial {harness.file('1/gate.json')['trial']} of run run, level 1, attempt 1, on train"
    )


@pytest.mark.parametrize("part", PARTS)
def test_best_params_reproduce_each_part_to_the_last_digit(harness: RunHarness, ask: Command, part: str) -> None:
    """At the size that was solved on train, and with the bars before validation and test as their warm-up."""
    file = harness.context.folder("run") / "1" / "best_params.json"
    setup, recorded = json.loads(file.read_text()), harness.file("1/metrics.json")[part]

    code, out, said = ask("backtest", "--parameters", str(file), "--timerange", setup["datasets"][0][part], "--json")

    assert code == 0, said
    told = json.loads(out)
    assert told["size"] == setup["size"] == recorded["size"]
    assert 0.01 < told["size"] < 1
    assert setup["leverage"] == recorded["leverage"] == setup["size"] * setup["position_fraction"]
    assert {name: plain(told["metrics"][name]) for name in METRICS} == {name: recorded[name] for name in METRICS}
    assert said.splitlines()[0].endswith(f"on {part}: the metrics are equal")


def test_the_size_is_shown_wherever_the_winner_is(harness: RunHarness, ask: Command, served: dict[str, str]) -> None:
    setup = harness.file("1/best_params.json")
    level_of_page = json.loads(served["/api/runs/run"])["levels"][0]
    level_of_report = harness.file("report.json")["levels"][0]
    last = json.loads(ask("optimize", "status", "run", "--json")[1])["levels"][0]
    best = json.loads(ask("optimize", "best", "run", "--json")[1])
    shown = json.loads(ask("optimize", "show", "run", str(setup["trial"]), "--json")[1])
    size, leverage = setup["size"], setup["leverage"]

    for told in (level_of_page, level_of_report, last):
        assert (told["size"], told["leverage"]) == (size, leverage)
        assert told["risk"] == "account sized to 0.02 volatility a year on train, leverage at most 1"
    assert (shown["metric_size"], shown["metric_leverage"]) == (size, leverage)
    assert {each["trial"]: each["size"] for each in best}[setup["trial"]] == size
    line = f"size {size:.4g} of the account, leverage up to {leverage:.4g}"
    assert line in ask("optimize", "status", "run")[1]
    assert line in ask("backtest", "--parameters", str(harness.context.folder("run") / "1" / "best_params.json"))[1]
    assert f"{size:.3f}" in ask("optimize", "best", "run")[1]
    assert f">Size</span>: <b>{size:.3g}</b>" in (harness.context.folder("run") / "report.html").read_text()


def test_another_size_is_reported(harness: RunHarness, ask: Command) -> None:
    file = harness.context.folder("run") / "1" / "best_params.json"
    code, out, said = ask("backtest", "--parameters", str(file), "--size", "2", "--json")
    size = json.loads(file.read_text())["size"]

    assert (code, json.loads(out)["size"]) == (0, 2.0)
    assert f"size 2 instead of {size:g}" in said


def looks_at(harness: RunHarness, part: str, trial: int) -> int:
    """Number of logged reads of a part for this trial alone."""
    log = read_holdout_log(harness.context.folder("run"))
    return sum((line["part"], line["trials"]) == (part, [trial]) for line in log)


def test_a_changed_setup_is_reported_and_its_test_look_is_logged(harness: RunHarness, ask: Command) -> None:
    file = harness.context.folder("run") / "1" / "best_params.json"
    winner = harness.file("1/gate.json")["trial"]
    days = ("--dataset", "coinbase/BTC-USD/H1", "--timerange", "20210301-20210609")

    before = looks_at(harness, "test", winner)
    code, _, said = ask("backtest", "--parameters", str(file), "--fraction", "0.5", "--fee-bps", "1", *days)

    assert code == 0, said
    first, *others = said.splitlines()
    assert first.startswith(
        f"differs from trial {winner} of run run, level 1, attempt 1, on train: position fraction 0.5"
    )
    assert "crypto_fee_bps 1 instead of 5" in first
    assert "no candles of oanda/EUR-USD/H1" in first
    assert "days 20210301-20210609 instead of 20210301-20210430 of coinbase/BTC-USD/H1" in first
    assert [line.split(" of level")[0] for line in others] == ["validation", "test"]
    assert looks_at(harness, "validation", winner) > 0
    assert looks_at(harness, "test", winner) == before > 0
