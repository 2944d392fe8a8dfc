"""Commands, options, settings and exit codes are documented in the reference."""

import importlib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import tradeschool as tradeschool_api
from tradeschool import errors
from tradeschool.cli.main import COMMANDS, INTERRUPTED, tradeschool
from tradeschool.settings.model import PROVIDERS, setting_names

REFERENCE_FOLDER = Path(__file__).parent.parent / "docs"
REFERENCE = (REFERENCE_FOLDER / "reference.md").read_text()


def commands() -> dict[str, click.Command]:
    """Every visible command by its words."""
    found: dict[str, click.Command] = {}
    for name, (place, _) in COMMANDS.items():
        module, attribute = place.split(":")
        command = getattr(importlib.import_module(f"tradeschool.cli.{module}"), attribute)
        if isinstance(command, click.Group):
            found |= {f"{name} {below}": each for below, each in command.commands.items() if not each.hidden}
        else:
            found[name] = command
    return found


@pytest.mark.parametrize("words", commands())
def test_every_command_and_option_is_documented(words: str) -> None:
    row = next((line for line in REFERENCE.splitlines() if line.startswith(f"| `{words}` |")), None)
    assert row is not None, f"no row for {words}"

    options = [name for option in commands()[words].params for name in option.opts if not getattr(option, "hidden", 0)]

    assert not [name for name in options if name.startswith("-") and f"`{name}`" not in row]


def test_every_public_name_of_the_python_api_is_documented() -> None:
    """So is every member of the two classes that the functions return."""
    page = (REFERENCE_FOLDER / "python.md").read_text()
    for name in tradeschool_api.__all__:
        assert f"`{name}" in page or f"ts.{name}" in page, name
    for public in (tradeschool_api.BacktestResult, tradeschool_api.Run):
        members = [member for member in vars(public) if not member.startswith("_")]
        assert not [member for member in members if f"`{member}" not in page], public


def test_global_options_are_documented() -> None:
    names = [name for option in tradeschool.params for name in option.opts]

    assert not [name for name in names if f"`{name}" not in REFERENCE]


def test_every_setting_and_its_default_is_documented() -> None:
    """One row stands for the same setting of every provider in the table."""
    for path, field in setting_names():
        name = ".".join(("fetch", "providers", "NAME", path[-1]) if path[:2] == PROVIDERS else path)
        row = next((line for line in REFERENCE.splitlines() if line.startswith(f"| `{name}` |")), "")
        default = "none" if field.default is None else field.default
        shown = f"{default:g}" if isinstance(default, float) else str(default)

        assert shown in row, path


def test_every_exit_code_is_documented() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    codes = {each.exit_code for each in classes} | {0, INTERRUPTED}

    assert not [code for code in codes if f"| {code} |" not in REFERENCE]


def test_the_decision_engine_example_of_the_docs_trades(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The unchanged example of the docs, checked by `strategy check`."""
    page = (REFERENCE_FOLDER / "writing-a-strategy.md").read_text()
    example = next(block for block in page.split("```python\n")[1:] if "STRATEGY = " in block).split("```")[0]
    (tmp_path / "docs_example.py").write_text(example)
    monkeypatch.chdir(tmp_path)

    told = CliRunner().invoke(tradeschool, ["strategy", "check", "docs_example:STRATEGY"])

    assert told.exit_code == 0, told.output
    assert "no findings" in told.output
