"""The reference page of the command line, from click's commands and options."""

import re
from collections.abc import Iterator

import click

from docsite.markdown import code, page, paragraphs, table
from tradeschool.cli.main import COMMANDS, tradeschool

INTRODUCTION = """\
Every command has `-h` and `--help`. With `--json`, a command prints one JSON document on standard output; progress and
errors go to standard error. Colours are off where `NO_COLOR` is set or the output is not a terminal. Ctrl-C stops a
command cleanly, and the command says how to resume.

The [exit codes](errors.md#exit-codes) are the same for all commands. The [glossary](../glossary.md) explains the
terms."""
DEFAULT = re.compile(r"\s*\[default: (?P<value>.+)\]\s*$", re.DOTALL)
"""A default that a help text states itself, because it depends on other settings."""
HELP = frozenset({"-h", "--help"})


def commands() -> dict[str, click.Command]:
    """Return every visible command by its words, groups left out, in the order of first use."""
    found: dict[str, click.Command] = {}
    for name in COMMANDS:
        command = tradeschool.get_command(click.Context(tradeschool), name)
        if command is not None:
            found |= dict(_leaves(name, command))
    return found


def command_page() -> str:
    """Return the page of all commands."""
    parts = [INTRODUCTION, "## Global options", "They precede the command.", _options(tradeschool)]
    group = ""
    for words, command in commands().items():
        if words.split()[0] != group:
            group = words.split()[0]
            parts.append(f"## {group}")
            if " " in words:
                parts.append(paragraphs(_help(tradeschool.get_command(click.Context(tradeschool), group))))
        if " " in words:
            parts.append(f"### {words}")
        parts += [code(_usage(words, command)), paragraphs(_help(command)), _options(command), _epilog(command)]
    return page("Commands", *parts)


def options(command: click.Command) -> Iterator[click.Option]:
    """Yield the visible options of a command, `--help` left out."""
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden and not HELP & {*option.opts}:
            yield option


def _leaves(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield name, command
        return
    context = click.Context(command, info_name=name)
    for below in command.list_commands(context):
        each = command.get_command(context, below)
        if each is not None and not each.hidden:
            yield from _leaves(f"{name} {below}", each)


def _help(command: click.Command | None) -> str:
    return command.help or "" if command is not None else ""


def _epilog(command: click.Command) -> str:
    return paragraphs(command.epilog) if command.epilog else ""


def _usage(words: str, command: click.Command) -> str:
    context = click.Context(command, info_name=words)
    return " ".join(["tradeschool", words, *command.collect_usage_pieces(context)])


def _options(command: click.Command) -> str:
    rows = [_row(command, option) for option in options(command)]
    return table(("option", "value", "default", "meaning"), rows) if rows else ""


def _row(command: click.Command, option: click.Option) -> tuple[str, str, str, str]:
    text = option.help or ""
    stated = DEFAULT.search(text)
    meaning = DEFAULT.sub("", text)
    if option.required:
        meaning += " Required."
    if option.multiple and "repeat" not in meaning.lower():
        meaning += " Repeatable."
    names = " / ".join(code(name) for name in (*option.opts, *option.secondary_opts))
    return names, _value(command, option), stated["value"] if stated else _default(option), meaning


def _value(command: click.Command, option: click.Option) -> str:
    if option.is_flag:
        return ""
    kind = option.type
    if isinstance(kind, click.Choice):
        return ", ".join(code(choice) for choice in kind.choices)
    if isinstance(kind, click.IntRange | click.FloatRange):
        described = kind._describe_range().replace("<=x<=", "..").replace("x", "")
        return f"{kind.name.removesuffix(' range')}, {code(described)}"
    return option.make_metavar(click.Context(command)).lower()


def _default(option: click.Option) -> str:
    shown = option.show_default
    if isinstance(shown, str):
        return shown
    if not shown or option.default is None:
        return ""
    if option.is_flag:
        return code(option.opts[0] if option.default is True else (option.secondary_opts or ["off"])[0])
    return code(option.default)
