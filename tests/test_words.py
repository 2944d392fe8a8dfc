"""Identifiers, page, help texts, report and docs use no retired word of `retired_words.txt`."""

import keyword
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import click
import pytest

from tradeschool.cli.main import tradeschool

ROOT = Path(__file__).parents[1]
LIST = Path(__file__).with_name("retired_words.txt")
PACKAGES = ("tradeschool", "fetcher", "optimizer", "workers")
CODE = (*PACKAGES, "tests", "benchmarks", "docsite")
TEXTS = (
    "*.md",
    "docs/**/*.md",
    "zensical.toml",
    "deploy/**/*",
    "workers/web/static/*",
    "optimizer/report/**/*.html",
    "scripts/*",
)
WORD = re.compile(r"[a-z0-9]+")
PIECE = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+")
TEXT_TOKENS = {tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", tokenize.COMMENT)}
HISTORY = "CHANGELOG.md"
"""It tells what things were called."""


@cache
def retired() -> dict[str, frozenset[str]]:
    """The words of the list by kind: `word`, `name`, `is` and `except`."""
    found: dict[str, set[str]] = {"word": set(), "name": set(), "is": set(), "except": set()}
    for line in LIST.read_text().splitlines():
        kind, colon, rest = line.partition(": ")
        if not line or line.startswith("#"):
            continue
        found[kind if colon else "word"].add(rest if colon else line)
    return {kind: frozenset(words) for kind, words in found.items()}


def is_exempt(path: str, word: str) -> bool:
    pairs = (line.split(" ", 1) for line in retired()["except"])
    return any(fnmatch(path, glob) and word == exempt for glob, exempt in pairs)


@cache
def in_identifier(name: str) -> list[str]:
    """The retired parts of an identifier, or the whole identifier."""
    pieces = [piece.lower() for piece in PIECE.findall(name)]
    parts = [piece for piece in pieces if piece in retired()["name"] or piece in retired()["word"]]
    return [name, *parts] if name in retired()["is"] else parts


@cache
def pattern() -> re.Pattern[str]:
    """Matches any retired word."""
    words = "|".join(re.escape(word).replace(r"\ ", r"\s+") for word in sorted(retired()["word"]))
    return re.compile(rf"(?<![A-Za-z0-9])(?:{words})(?![A-Za-z0-9])", re.IGNORECASE)


@cache
def beginnings() -> frozenset[str]:
    """The first word of each retired word or phrase, in lower case."""
    return frozenset(WORD.findall(word.lower())[0] for word in retired()["word"])


def in_text(text: str) -> list[str]:
    """The retired words of a text, including phrases across line ends."""
    if beginnings().isdisjoint(WORD.findall(text.lower())):  # much faster than the search
        return []
    return [" ".join(each.split()).lower() for each in pattern().findall(text)]


def python_files() -> list[Path]:
    return [path for root in CODE for path in sorted((ROOT / root).rglob("*.py")) if "__pycache__" not in path.parts]


def text_files() -> list[Path]:
    found = [path for glob in TEXTS for path in sorted(ROOT.glob(glob))]
    return [path for path in found if path.is_file() and path.suffix not in {".webp", ".pyc"} and path.name != HISTORY]


@dataclass
class Module:
    """What a module names and says, each with its first line."""

    names: dict[str, int] = field(default_factory=dict)
    """Every name, and the parts of every string that looks like a key or name."""
    texts: dict[str, int] = field(default_factory=dict)
    """Docstrings, messages and comments."""


@cache
def module(path: Path) -> Module:
    """Read a module once for several tests."""
    found = Module()
    with tokenize.open(path) as file:
        for token in tokenize.generate_tokens(file.readline):
            line = token.start[0]
            if token.type == tokenize.NAME and not keyword.iskeyword(token.string):
                found.names.setdefault(token.string, line)
            elif token.type == tokenize.STRING:
                body = token.string.strip("rbfuRBFU").strip("\"'")
                if re.fullmatch(r"[a-z][a-z0-9]*([_.:-][a-z0-9]+)+", body):
                    for part in re.split(r"[.:-]", body):
                        found.names.setdefault(part, line)
            if token.type in TEXT_TOKENS:
                found.texts.setdefault(token.string, line)
    return found


def test_no_identifier_uses_a_retired_word() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name} ({word})"
        for path in python_files()
        for name, line in module(path).names.items()
        for word in in_identifier(name)
        if not is_exempt(str(path.relative_to(ROOT)), word)
    ]
    assert not found, "\n".join(dict.fromkeys(found))


def test_no_module_or_folder_is_named_by_a_retired_word() -> None:
    found = [
        f"{path.relative_to(ROOT)} ({word})"
        for path in python_files()
        for part in path.relative_to(ROOT).with_suffix("").parts
        for word in in_identifier(part)
    ]
    assert not found, "\n".join(found)


def test_no_docstring_message_or_comment_uses_a_retired_word() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {word}"
        for path in python_files()
        if path != Path(__file__)
        for text, line in module(path).texts.items()
        for word in in_text(text)
        if not is_exempt(str(path.relative_to(ROOT)), word)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", text_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_page_report_or_docs_page_uses_a_retired_word(path: Path) -> None:
    text = path.read_text(errors="replace")
    found = [word for word in in_text(text) if not is_exempt(str(path.relative_to(ROOT)), word)]
    if path.suffix in {".js", ".json", ".html", ".yml"}:
        names = set(re.findall(r"[A-Za-z_][A-Za-z0-9_]*_[A-Za-z0-9_]*|[a-z]+[A-Z][A-Za-z0-9]*", text))
        found += [f"{name} ({word})" for name in sorted(names) for word in in_identifier(name)]
    assert not found, ", ".join(found)


def help_pages(command: click.Command, context: click.Context, path: str) -> Iterator[tuple[str, str]]:
    """The help text of a command and of all commands below it."""
    yield path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from help_pages(child, click.Context(child, parent=context, info_name=name), f"{path} {name}")


def test_no_help_text_uses_a_retired_word() -> None:
    context = click.Context(tradeschool, info_name="tradeschool", terminal_width=200, max_content_width=200)
    pages = list(help_pages(tradeschool, context, "tradeschool"))
    assert len(pages) > 20
    found = [f"{command}: {word}" for command, page in pages for word in in_text(page)]
    assert not found, "\n".join(found)


def test_the_word_search_finds_retired_words() -> None:
    assert in_identifier("HeraldMemory") == in_identifier("herald_failed") == ["herald"]
    assert in_identifier("Desk") == ["Desk"]
    assert in_identifier("desktop") == in_identifier("order") == in_identifier("heralds") == []
    assert in_text("The sealed\nperiod, and `openings.jsonl`.") == ["sealed period", "openings.jsonl"]
    assert in_text("Unsealed periods") == []
