"""Help texts: examples of every command, each a valid command line; shell completion."""

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from tests.factories.runs import make_context, make_run_record
from tradeschool.cli.main import tradeschool
from tradeschool.cli.options.examples import EXAMPLES

Command = Callable[..., tuple[int, str, str]]


def commands(group: click.Group = tradeschool, name: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command that a user sees, with its name."""
    ctx = click.Context(group)
    for part in group.list_commands(ctx):
        command = group.get_command(ctx, part)
        assert command is not None
        full = f"{name} {part}".strip()
        yield full, command
        if isinstance(command, click.Group):
            yield from commands(command, full)


def parsed(words: list[str]) -> click.Context:
    """Parse a command line without running it."""
    command: click.Command | None = tradeschool
    ctx, name, rest = None, "tradeschool", words
    while isinstance(command, click.Group):
        ctx = command.make_context(name, list(rest), parent=ctx)
        name, command, rest = command.resolve_command(ctx, [*ctx._protected_args, *ctx.args])
        assert command is not None
    return command.make_context(name, list(rest), parent=ctx)


def test_every_command_has_examples_in_its_help() -> None:
    found = dict(commands())

    assert set(EXAMPLES) == {"", *found}
    for name, command in {"": tradeschool, **found}.items():
        told = command.get_help(click.Context(command, info_name=name))
        assert f"tradeschool {EXAMPLES[name][0]}\n" in f"{told}\n", name


@pytest.mark.parametrize("line", sorted({line for lines in EXAMPLES.values() for line in lines}))
def test_every_example_is_a_valid_command_line(line: str) -> None:
    parsed(shlex.split(line))


def test_an_example_of_a_group_belongs_to_it() -> None:
    assert all(line.startswith(name.split(" ")[0]) for name, lines in EXAMPLES.items() if name for line in lines)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_asks_the_program(command: Command, shell: str) -> None:
    code, out, told = command("completion", shell)

    assert code == 0
    assert f"_TRADESCHOOL_COMPLETE={shell}_complete" in out
    assert f"completion {shell}" in told


@pytest.mark.parametrize(
    ("words", "begun", "expected"),
    [
        ((), "opt", {"optimize"}),
        (("optimize",), "res", {"resume"}),
        (("optimize", "show"), "r", {"r1"}),
        (("optimize", "compare", "r1"), "", {"r1"}),
        (("optimize", "show", "r1", "--level"), "", {"1"}),
        (("fetch", "--pairs"), "BTC/USD,ETH/USD", {"BTC/USD,ETH/USD", "BTC/USD,ETH/USDT"}),
        (("fetch", "--timeframes"), "M1", {"M1", "M15"}),
        (("optimize", "run", "--strategy"), "sma", {"sma_cross"}),
        (("data", "gaps"), "oanda/GBP-USD/H", {"oanda/GBP-USD/H1", "oanda/GBP-USD/H4"}),
        (("optimize", "list", "r1", "--sort"), "cal", {"calmar"}),
    ],
)
def test_completion_offers_names(
    words: tuple[str, ...],
    begun: str,
    expected: set[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_run_record(make_context(Path.cwd()))
    (Path("results") / "r1" / "run.json").write_text('{"levels": [{"name": "1"}]}')
    monkeypatch.setenv("_TRADESCHOOL_COMPLETE", "bash_complete")
    monkeypatch.setenv(
        "COMP_WORDS", shlex.join(["tradeschool", *words, begun]) if begun else shlex.join(["tradeschool", *words])
    )
    monkeypatch.setenv("COMP_CWORD", str(len(words) + 1))
    with pytest.raises(SystemExit):
        tradeschool.main(prog_name="tradeschool")
    offered = {line.split(",", 1)[1] for line in capsys.readouterr().out.splitlines()}

    assert offered == expected


def test_completion_survives_broken_settings(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("tradeschool.toml").write_text("nonsense = 1\n")
    monkeypatch.setenv("_TRADESCHOOL_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "tradeschool optimize show")
    monkeypatch.setenv("COMP_CWORD", "3")
    with pytest.raises(SystemExit):
        tradeschool.main(prog_name="tradeschool")

    assert capsys.readouterr().out.strip() == ""
