"""Code blocks have a known label; the files in them are valid, the Python in them runs, the commands in them exist.

`tests/acceptance/test_documented_commands.py` runs the commands.
"""

import ast
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import pytest

from docsite.reference import PAGES
from optimizer.curriculum.level_files import load_levels
from tests.docs.blocks import PROGRAM, Block, blocks, command_lines, inline_commands, program_words
from tradeschool.cli.main import tradeschool
from tradeschool.settings import loading
from tradeschool.settings.model import Settings

LABELS = {
    "console": "commands, which run in a test",
    "python": "Python, which runs in a test",
    "toml": "settings, a curriculum or fields of a level, which are read in a test",
    "sh": "scripts of backups, which tests/workers/coordinator/test_backup.py runs",
    "text": "output or a formula",
}
GENERATED = {f"docs/reference/{name}" for name in PAGES}
PLACEHOLDERS = re.compile(r"\.\.\.|\b(?:COMMAND|NAME|RUN|PATH|DATASET|HOST|PORT|URL|FILE|N|FOLDER|STATE_DIR)\b")
"""Words of a command that a reader replaces."""
LEVEL = """
[[level]]
name = "1"
title = "Any"
direction = "both"
trials = 10
gate = { sharpe = 0.5, win_rate = 0.3, max_drawdown_intrabar = 0.3, profit_factor = 1.0 }
datasets = [{ dataset = "coinbase/BTC-USD/M5", start = 2020-01-01, end = 2022-01-01 }]
ranges = { fast = [5, 50], slow = [60, 200], atr_period = [7, 28], stop_atr = [1.0, 5.0], target_atr = [1.0, 8.0] }
"""


def test_every_block_has_a_known_label() -> None:
    assert {str(block): block.label for block in blocks() if block.label not in LABELS} == {}


def check(words: list[str]) -> None:
    """Parse the words as the program does, without calling the command."""
    context = click.Context(tradeschool, info_name="tradeschool")
    name, command, rest = tradeschool.resolve_command(context, words)
    while isinstance(command, click.Group):
        if not rest or rest == ["--help"]:
            return
        if command.name == "forward" and rest[0] not in command.commands:
            rest = ["run", *rest]  # `forward RUN` is short for `forward run RUN`
        name, command, rest = command.resolve_command(click.Context(command), rest)
    assert command is not None
    command.make_context(name, rest, resilient_parsing=bool(PLACEHOLDERS.search(" ".join(words))))


@pytest.mark.parametrize("block", blocks("console"), ids=str)
def test_every_command_of_a_block_exists_with_its_options(block: Block) -> None:
    for line in command_lines(block):
        for part in re.split(r"\s+(?:&&|\||>)\s+", line):
            words = program_words(part)
            if words is not None:
                check(words)


@pytest.mark.parametrize("block", blocks("sh"), ids=str)
def test_every_command_of_a_service_exists_with_its_options(block: Block) -> None:
    """A line may be a part of a shell loop, so only those of the program are read."""
    for line in command_lines(block):
        if line.startswith(f"{PROGRAM} "):
            check(program_words(line) or [])


@pytest.mark.parametrize(("page", "text"), inline_commands())
def test_every_command_in_the_text_exists(page: str, text: str) -> None:
    """Options after a placeholder are checked, too; a command may lack required ones in a sentence."""
    words = text.replace("|", " ").split()[1:]
    if page in GENERATED or not words or words[0].isupper() or words[0].startswith("-"):
        return
    context = click.Context(tradeschool, info_name="tradeschool")
    _, command, _ = tradeschool.resolve_command(context, words[:1])
    below = list(words[1:])
    while isinstance(command, click.Group) and below and not below[0].startswith("-"):
        if command.name == "forward" and below[0] not in command.commands:
            below = ["run", *below]
        found = command.get_command(click.Context(command), below[0])
        if found is None:
            assert below[0].isupper(), text
            break
        command, below = found, below[1:]
    assert command is not None
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {"--help", "-h"}
    assert [word for word in below if re.match(r"--?[a-z]", word) and word.split("=")[0] not in known] == [], text


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_every_file_of_a_block_is_valid(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its keys, it is a settings file, a curriculum, or fields of a level."""
    monkeypatch.chdir(tmp_path)
    loading.forget_environment()
    table = tomllib.loads(block.text)
    file = tmp_path / "file.toml"
    if set(table) <= set(Settings.model_fields) and not isinstance(table.get("costs"), dict):  # a level's costs
        file.write_text(block.text)
        loading.load(file=file)
        return
    base = tomllib.loads(LEVEL)
    levels = table.get("level", [table])
    strategy = any("strategy" in each and each["strategy"] != "sma_cross" for each in levels)
    file.write_text(
        as_toml({**{name: value for name, value in table.items() if name == "holdout"}}, base, levels, strategy)
    )
    assert len(load_levels(file)) == len(levels)


def as_toml(top: Mapping[str, Any], base: Mapping[str, Any], levels: list[dict[str, Any]], other: bool) -> str:
    """The levels with the fields of the base that they lack; its ranges are those of one strategy alone."""
    lines = [f"{name} = {inline(value)}" for name, value in top.items()]
    for number, level in enumerate(levels, 1):
        usual = {name: value for name, value in base["level"][0].items() if not (other and name == "ranges")}
        lines += [
            "[[level]]",
            *(f"{name} = {inline(value)}" for name, value in {**usual, "name": str(number), **level}.items()),
        ]
    return "\n".join(lines)


def inline(value: Any) -> str:
    """A TOML value in one line."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case dict():
            return "{ " + ", ".join(f"{name} = {inline(each)}" for name, each in value.items()) + " }"
        case list():
            return f"[{', '.join(inline(each) for each in value)}]"
    return str(value)


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_every_python_block_is_valid(block: Block) -> None:
    """Functions and classes are defined; `tests/acceptance/test_documented_commands.py` runs the API's block."""
    tree = ast.parse(block.text)
    if not any(isinstance(node, ast.Import) for node in tree.body):
        exec(compile(tree, str(block), "exec"), {})


def test_the_objective_of_the_docs_returns_a_number() -> None:
    (block,) = (each for each in blocks("python") if "def steady" in each.text)
    names: dict[str, Any] = {}
    exec(block.text, names)

    class Trial:
        metrics, returns = {"total_return": 0.5}, [0.1, -0.2]

    assert names["steady"](Trial) == pytest.approx(0.1)


def test_the_decision_engine_of_the_docs_passes_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The unchanged example, checked by `strategy check`."""
    from click.testing import CliRunner

    (block,) = (each for each in blocks("python") if "STRATEGY = " in each.text)
    (tmp_path / "docs_example.py").write_text(block.text)
    monkeypatch.chdir(tmp_path)

    told = CliRunner().invoke(tradeschool, ["strategy", "check", "docs_example:STRATEGY"])

    assert told.exit_code == 0, told.output
    assert "no findings" in told.output
