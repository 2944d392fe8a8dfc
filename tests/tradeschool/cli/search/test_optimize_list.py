"""`optimize list RUN` filters and sorts trials; `optimize show` finds one; `optimize export` writes a workbook."""

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import polars as pl
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from optimizer.search.study import NOTE_KEY, StudyFacts, open_study
from tests.factories.runs import make_attempt, make_context, make_level, make_run_record

Command = Callable[..., tuple[int, str, str]]
SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
DISTRIBUTIONS = {"fast": IntDistribution(5, 50), "stop": FloatDistribution(1.0, 5.0)}


def trial(number: int, sharpe: float, trades: int, drawdown: float, *, feasible: bool = True) -> FrozenTrial:
    """A complete trial."""
    metrics = {"sharpe": sharpe, "trades": trades, "max_drawdown": drawdown, "profit_factor": 1 + sharpe / 10}
    made = create_trial(
        state=TrialState.COMPLETE,
        value=sharpe,
        params={"fast": 10 + number, "stop": 2.0},
        distributions=dict(DISTRIBUTIONS),
        constraints={"drawdown": -0.1 if feasible else 0.1},
        user_attrs={"metrics": metrics},
    )
    made.number = number
    return made


@pytest.fixture
def run(tmp_path: Path) -> str:
    """A run of five trials: the best violates a constraint, and the last one was pruned."""
    (tmp_path / ".tradeschool").mkdir()
    url = f"sqlite:///{tmp_path / '.tradeschool' / 'study.sqlite3'}"
    context = replace(make_context(tmp_path), storage_url=url)
    make_attempt(context, make_run_record(context))
    pruned = create_trial(state=TrialState.PRUNED, params={"fast": 40, "stop": 2.0}, distributions=dict(DISTRIBUTIONS))
    pruned.number = 4
    study = open_study(url, "r1-L1-a1", StudyFacts(level=make_level("1"), seed=7, fingerprints={}))
    study.commit(
        trial(0, 0.5, 40, 0.10),
        trial(1, -0.2, 90, 0.05),
        trial(2, 3.0, 12, 0.60, feasible=False),
        trial(3, 0.9, 60, 0.30),
    )
    study.commit(pruned)
    study.close()
    return "r1"


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        ((), [0, 1, 2, 3, 4]),
        (("--sort", "sharpe"), [2, 3, 0, 1, 4]),
        (("--sort", "sharpe", "--reverse"), [1, 0, 3, 2, 4]),
        (("--sort", "max_drawdown"), [1, 0, 3, 2, 4]),
        (("--feasible", "--sort", "value", "-n", "2"), [3, 0]),
        (("--best",), [0, 3]),
        (("--profitable",), [0, 2, 3]),
        (("--min-trades", "40", "--max-trades", "60"), [0, 3]),
        (("--min-sharpe", "0", "--max-drawdown", "0.3"), [0, 3]),
        (("--min", "profit_factor=1.05", "--max", "fast=12"), [0, 2]),
        (("--state", "pruned"), [4]),
    ],
    ids=str,
)
def test_trials_are_filtered_and_sorted(command: Command, run: str, words: tuple[str, ...], numbers: list[int]) -> None:
    code, out, told = command("optimize", "list", run, "--print-json", *words)

    assert code == 0, told
    assert [row["number"] for row in json.loads(out)] == numbers


def test_the_listed_trials_are_written_as_csv_in_their_order(command: Command, run: str) -> None:
    code, out, _ = command("optimize", "list", run, "--feasible", "--sort", "sharpe", "--export-csv", "best.csv")

    assert code == 0
    assert pl.read_csv("best.csv")["number"].to_list() == [3, 0, 1]
    assert "0.900" in out
    assert "30.0%" not in out
    assert "no trial matches" in command("optimize", "list", run, "--min-trades", "1000")[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("r1", "--min", "sharp=1"), "unknown figure sharp: expected one of number"),
        (("r1", "--max", "sharpe"), "--max sharpe: expected METRIC=NUMBER, for example sharpe=0.8"),
        (("--profitable",), "name it: tradeschool optimize list RUN"),
    ],
)
def test_a_wrong_filter_is_one_line(command: Command, run: str, words: tuple[str, ...], said: str) -> None:
    code, _, told = command("optimize", "list", *words)

    assert code == 2
    assert said in told
    assert len(told.splitlines()) == 1


def test_the_listing_names_the_command_for_one_trial(command: Command, run: str) -> None:
    told = command("optimize", "list", run, "--best", "-n", "1")[2]

    assert told.strip() == "1 trial; show one: tradeschool optimize show r1 TRIAL"


def test_a_level_without_daily_returns_to_write_is_refused(command: Command, run: str) -> None:
    code, _, told = command("optimize", "report", run, "--level", "1")

    assert (code, told.strip()) == (
        2,
        "tradeschool: --level 1: it chooses the level of --quantstats, which is not given",
    )


@pytest.mark.parametrize(("words", "number"), [((), 3), (("1",), 1), (("--index", "2"), 2), (("-n", "-1"), 4)], ids=str)
def test_show_finds_a_trial(command: Command, run: str, words: tuple[str, ...], number: int) -> None:
    code, out, told = command("optimize", "show", run, *words, "--print-json")

    assert code == 0, told
    assert json.loads(out)["number"] == number


def test_show_refuses_a_number_outside_the_search(command: Command, run: str) -> None:
    assert "--index -9 is before the first one" in command("optimize", "show", run, "-n", "-9")[2]
    assert "TRIAL is 1 and --index is 2" in command("optimize", "show", run, "1", "-n", "2")[2]


def test_a_workbook_holds_the_rows_as_numbers(command: Command, run: str) -> None:
    code, _, told = command("optimize", "export", run, "--format", "xlsx", "--out", "trials.xlsx")
    content = Path("trials.xlsx").read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        sheet = ElementTree.fromstring(archive.read("xl/worksheets/sheet1.xml"))
    rows = [{str(cell.get("r")): "".join(cell.itertext()) for cell in row} for row in sheet.iter(f"{SHEET}row")]
    header = {text: where[:-1] for where, text in rows[0].items()}

    assert code == 0, told
    assert len(rows) == 6
    assert float(rows[4][f"{header['metric_sharpe']}5"]) == 0.9
    assert rows[5][f"{header['state']}6"] == "pruned"
    assert f"{header['metric_sharpe']}6" not in rows[5]
    command("optimize", "export", run, "--format", "xlsx", "--out", "again.xlsx")
    assert Path("again.xlsx").read_bytes() == content


def test_the_study_says_that_other_dashboards_ignore_constraints(tmp_path: Path) -> None:
    study = open_study(
        f"sqlite:///{tmp_path}/s.sqlite3", "s", StudyFacts(level=make_level("1"), seed=7, fingerprints={})
    )
    attributes = study._storage.get_study_system_attrs(study._study._study_id)
    study.close()

    assert "ignores the constraints" in attributes[NOTE_KEY]
    assert attributes["study:metric_names"] == ["sharpe"]
