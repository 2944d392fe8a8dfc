"""The reference page of exit codes and error classes, from the error classes of all packages."""

import ast
from pathlib import Path
from typing import NamedTuple

from docsite.markdown import code, page, table
from tradeschool.cli.main import INTERRUPTED

ROOT = Path(__file__).parents[1]
PACKAGES = ("tradeschool", "fetcher", "optimizer", "workers")
BASE = "TradeschoolError"
EXIT_CODES = {
    0: "Success. For a search: every gate was passed. For `demo`: a verdict was reached.",
    1: "Failure: a provider refused a request, the disk is full, or a check failed.",
    2: "Invalid usage, settings, curriculum file or name. Nothing was started.",
    3: "A gate failed, or the rule of a forward test says stop.",
    4: "Candles are missing, not sealed, below `min_coverage` or `min_density`, or changed since they were sealed.",
    5: "Redis, the study database or a provider is unreachable, or the workers of a command cannot be kept running.",
    INTERRUPTED: "Interrupted. Run the same command, or the one that it prints, to resume.",
}
"""Exit codes and their meaning; a test compares them with the error classes."""
INTRODUCTION = """\
An error is one line on standard error: what failed, which object, and what to do. Its class decides the exit code."""
TREE = """\
Every error of tradeschool is a subclass of `tradeschool.TradeschoolError`, so a program that uses the
[Python API](api.md) catches all of them with one `except`."""


class ErrorClass(NamedTuple):
    """An error class of the code."""

    name: str
    module: str
    base: str
    exit_code: int
    meaning: str


def error_classes() -> dict[str, ErrorClass]:
    """Return every subclass of the base class by its name, parents before their children."""
    nodes = {node.name: (module, node) for module, node in _classes()}
    found: dict[str, ErrorClass] = {}

    def add(name: str) -> bool:
        if name in found or name not in nodes:
            return name in found
        module, node = nodes[name]
        base = next((_name(each) for each in node.bases if name == BASE or add(_name(each))), None)
        if base is None:
            return False
        inherited = found[base].exit_code if base in found else 1
        own = next((code for code in map(_exit_code, node.body) if code is not None), inherited)
        meaning = (ast.get_docstring(node) or "").split("\n\n", 1)[0]
        found[name] = ErrorClass(name, module, base, own, " ".join(meaning.split()))
        return True

    for name in sorted(nodes, key=lambda each: (nodes[each][0] != "tradeschool.errors", nodes[each][0])):
        add(name)
    return found


def error_page() -> str:
    """Return the page of exit codes and error classes."""
    codes = [(str(number), meaning) for number, meaning in EXIT_CODES.items()]
    rows = [
        (
            code(each.name),
            str(each.exit_code),
            code(each.base) if each.name != BASE else "",
            each.meaning,
            code(each.module),
        )
        for each in error_classes().values()
    ]
    return page(
        "Exit codes and errors",
        INTRODUCTION,
        "## Exit codes",
        table(("code", "meaning"), codes),
        "## Error classes",
        TREE,
        table(("class", "exit code", "base class", "meaning", "module"), rows),
    )


def _classes() -> list[tuple[str, ast.ClassDef]]:
    found = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            nodes = ast.walk(ast.parse(path.read_text()))
            found += [(module, node) for node in nodes if isinstance(node, ast.ClassDef)]
    return found


def _name(base: ast.expr) -> str:
    return getattr(base, "attr", getattr(base, "id", ""))


def _exit_code(statement: ast.stmt) -> int | None:
    match statement:
        case ast.Assign(targets=[ast.Name(id="exit_code")], value=ast.Constant(value=int(value))):
            return value
        case ast.AnnAssign(target=ast.Name(id="exit_code"), value=ast.Constant(value=int(value))):
            return value
    return None
