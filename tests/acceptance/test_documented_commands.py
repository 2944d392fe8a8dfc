"""Runs the commands of the documentation in one folder, page by page, on candles of the loopback exchange.

Searches are made small, endless commands are interrupted once they work, and some lines are left out for a reason.
"""

import re
import select
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.conftest import TIMEOUT, Program
from tests.docs.blocks import Block, blocks, command_lines, program_words

PAGES = (
    "docs/quickstart.md",
    "docs/tutorials/own-market.md",
    "docs/tutorials/own-strategy.md",
    "docs/tutorials/many-machines.md",
    "docs/reference/markets.md",
    "docs/reference/strategies.md",
    "docs/how-to/operations.md",
    "docs/how-to/forward-test.md",
    "docs/explanation/backtest.md",
    "docs/explanation/search.md",
    "docs/explanation/recommendation.md",
    "docs/explanation/curriculum.md",
    "README.md",
)
"""Pages with commands that run, in this order: the first makes the candles and the run of the others."""
NOT_RUN = {
    r"\./scripts/": "the scripts are the tests and benchmarks themselves",
    r"\. \.venv/bin/activate|\.venv/bin/python -m pytest": "the environment is that of the tests",
    r"export OANDA_API_TOKEN": "a placeholder; the test has a token",
    r"pip install": "installs packages of others",
    r"tradeschool data import ": "names files of the reader; tests/fetcher/importing has one test for each form",
    r"tradeschool up ": "the whole curriculum; tests/acceptance/test_whole_path.py runs it",
    r"tradeschool forward |--follow|--holdout": "reads the days since 2024; tests/tradeschool/app/forward runs it",
    r"tradeschool optimize null": "tests/acceptance/test_whole_path.py runs it",
    r"ccxt\.|20230101-20240101|--timerange 2020-|--pairs SOL/USD,EUR/USD": "years of candles",
    r"--host 0\.0\.0\.0": "would listen on every address",
    r"--part validation|--trial 17|--level 2|--parameters results|sampler cmaes": "the small run has less",
    r"tradeschool doctor|tradeschool worker health": "their exit codes depend on the machine and its workers",
    r"deploy/make-secrets|docker (build|compose)|^kubectl ": "tests/deploy checks these files",
    r"^useradd |^install |^cp deploy|^systemctl ": "change the services of the machine",
    r"AWS_ACCESS_KEY_ID|TRADESCHOOL_DATA_DIR|-n 8$": "a bucket; tests/tradeschool/object_storage has a server for it",
    r"SIGNING_KEY_FILE|strategy publish|start --strategy": "a key and a bucket, as above",
    r"^tradeschool fetch$|^tradeschool optimize plan$": "the built-in curriculum, years of candles",
}
"""Lines that do not run, and why."""
ENDLESS = r"serve|queue watch|worker start"
SMALL = ("--trials", "4", "--surrogates", "0", "-j", "1")
REPLACED = {
    r"SOL/USD": "BTC/USD",  # the simulated SOL/USD has no bear market of 90 days
    r"\bRUN\b": "first",
    r"coinbase/BTC-USD/M5": "coinbase/BTC-USD/H1",
    r"20200101-20220101": "2022",
    r"--seed 7 -j 0": "--seed 7",
}
VERDICTS = {0, 3}
LEVEL = """
[[level]]
name = "1"
title = "Small"
direction = "both"
trials = 4
datasets = [{ dataset = "coinbase/BTC-USD/H1", start = 2022-01-01, end = 2022-06-01 }]
gate = { win_rate = 0.99, sharpe = 9, max_drawdown_intrabar = 0.01, profit_factor = 9 }
min_trades = { train = 100000, validation = 10 }
ranges = { fast = [5, 50], slow = [60, 200], atr_period = [7, 28], stop_atr = [1.0, 5.0], target_atr = [1.0, 8.0] }
retries = 0
"""


@pytest.fixture(scope="module")
def project(make_lasting: Callable[[str], Program]) -> Iterator[Program]:
    """One folder for all pages; at the end none of its processes may be left."""
    made = make_lasting("documented").with_environment({"TRADESCHOOL_SERVE__PORT": "0"})
    yield made
    made.run("down")
    assert not made.processes()


def reason_not_to_run(line: str) -> str | None:
    return next((reason for pattern, reason in NOT_RUN.items() if re.search(pattern, line)), None)


def adapted(line: str) -> str:
    """The same command on the small candles of the test."""
    for pattern, text in REPLACED.items():
        line = re.sub(pattern, text, line)
    if re.search(r"optimize run|^tradeschool up", line):
        if "--curriculum" not in line:
            line += " --curriculum curriculum.toml"
        if "--level" not in line:
            line += " --level 1"
        line += " " + " ".join(SMALL)
    return line


def run(project: Program, line: str) -> None:
    """Run a line and check its exit code."""
    words = program_words(line)
    if words is None:
        subprocess.run(["sh", "-c", line], cwd=project.folder, check=True, timeout=TIMEOUT)
    elif re.search(rf"^tradeschool (?:{ENDLESS})", line):
        interrupt_once_it_works(project, words)
    else:
        done = project.run(*words)
        assert done.returncode in (VERDICTS if "optimize" in words else {0}), f"{line}\n{done.stdout}{done.stderr}"


def interrupt_once_it_works(project: Program, words: list[str]) -> None:
    """Interrupt a command that runs until then, after its first line."""
    process = project.start(*words)
    streams = [stream for stream in (process.stdout, process.stderr) if stream is not None]
    select.select(streams, [], [], TIMEOUT)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT)
    assert process.wait() in {0, 130}, f"{words}\n{out}{err}"


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run(page: str, project: Program) -> None:
    for block in of_page(page):
        for line in command_lines(block):
            if reason_not_to_run(line) is None:
                run(project, adapted(line))


def of_page(page: str) -> list[Block]:
    return [block for block in blocks("console") if block.page == page]


def test_every_command_of_the_docs_runs_or_has_a_reason() -> None:
    left_out = [
        f"{block}: {line}"
        for block in blocks("console")
        if block.page not in PAGES
        for line in command_lines(block)
        if reason_not_to_run(line) is None
    ]

    assert left_out == []


def test_every_reason_is_needed() -> None:
    lines = [line for block in blocks("console") for line in command_lines(block)]

    assert [pattern for pattern in NOT_RUN if not any(re.search(pattern, line) for line in lines)] == []


def test_the_python_of_the_docs_runs(project: Program) -> None:
    """On the candles of the pages before, with a level that no trial can pass, so that no null test follows."""
    (block,) = (each for each in blocks("python") if "import tradeschool" in each.text)
    curriculum = project.folder / "curriculum.toml"
    curriculum.write_text(LEVEL)
    code = re.sub(r'ts\.run\("[^"]+"\)', "ts.run(run.name)", block.text)
    done = project.run_through((), "-c", code)

    assert done.returncode == 0, done.stderr


def test_every_file_of_the_project_is_in_the_reference(project: Program) -> None:
    """Each file that the commands of the pages left in the data, results and state folders."""
    text = (Path(__file__).parents[2] / "docs" / "reference" / "files.md").read_text()
    names = re.findall(r"`(?:<[a-z_]+>/)?([^`]+)`", "".join(re.findall(r"^\| (.+?) \|", text, re.MULTILINE)))
    known = {Path(name.strip("/")).name for name in names} | {Path(name.strip("/")).parts[0] for name in names}
    patterns = [re.compile(r"\d{8}-\d{8}.*\.(parquet|seal\.json)"), re.compile(r".*\.lock")]
    folders = [project.folder / name for name in ("data", "results")]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]

    assert files
    unknown = {
        path.name
        for path in files
        if path.name not in known and not any(each.fullmatch(path.name) for each in patterns)
    }
    assert unknown == set()
