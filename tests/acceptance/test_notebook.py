"""The notebook of the documentation, executed on candles of the loopback exchange."""

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.acceptance.conftest import TIMEOUT, Program
from tests.conftest import REPOSITORY

NOTEBOOK = REPOSITORY / "docs" / "tutorials" / "notebook.ipynb"


@pytest.fixture
def executed(program: Program, monkeypatch: pytest.MonkeyPatch) -> nbformat.NotebookNode:
    """The notebook with its outputs, after the download that it asks for."""
    days = ("--timerange", "20230101-20230401")
    done = program.run("fetch", "--pairs", "BTC/USD", "--timeframes", "H1,M15", *days)
    assert done.returncode == 0, done.stderr
    for name, value in program.environment.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(notebook, timeout=TIMEOUT, resources={"metadata": {"path": str(program.folder)}})
    return client.execute()


def test_the_notebook_runs_and_agrees_with_the_command(executed: nbformat.NotebookNode, program: Program) -> None:
    outputs = {
        cell.source: cell.outputs[-1].data for cell in executed.cells if cell.cell_type == "code" and cell.outputs
    }
    table = program.folder / "trials.json"
    program.run("optimize", "export", "notebook", "--format", "json", "--out", str(table))
    trials = json.loads(table.read_text())
    best = max((each for each in trials if each["state"] == "complete"), key=lambda each: each["value"], default=None)

    assert "<svg" in outputs["result.plot()"]["image/svg+xml"]
    assert outputs["run.recommendation"]["text/plain"] == "'do not deploy'"
    assert best is None or f"value={best['value']!r}" in outputs["run.best()"]["text/plain"]
    assert outputs["study = run.study()\nlen(study.trials), study.best_trial.number"]["text/plain"].startswith("(16, ")
    report = (Path(program.folder) / "results" / "notebook" / "report.html").resolve()
    assert report.name in outputs["run.report_path"]["text/plain"]
    assert report.is_file()
