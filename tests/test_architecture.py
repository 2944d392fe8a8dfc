"""`docs/architecture.md` names existing functions and all folders and layers."""

import ast
import importlib
import inspect
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
PACKAGES = ("fetcher", "optimizer", "tradeschool", "workers")
ENDS = {
    "A candle": ("fetcher.download.plan.pages", "optimizer.objective.metrics.figures"),
    "A trial": ("workers.coordinator.study.coordinator.StudyRun.reconcile", "optimizer.search.trial_table.trial_rows"),
    "A setting": ("tradeschool.app.context.load_settings", "fetcher.http.rate_limiter.TokenBucket.acquire"),
    "A verdict": ("optimizer.curriculum.state_machine.next_action", "optimizer.report.files.write_report"),
}
"""First and last step of each walk."""
WALKS = tuple(ENDS)
STEP = re.compile(r"\[(?P<file>\S+)\]\(\.\./(?P=file)\)\s+`(?P<name>[\w.]+)`\s+\w")


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def items(walk: str) -> list[str]:
    """The numbered items of a walk, without their numbers."""
    return [" ".join(item.split()) for item in re.split(r"^\d+\. ", section(walk), flags=re.MULTILINE)[1:]]


def steps(walk: str) -> list[tuple[str, str]]:
    """File and object of each step; an item without both is an error."""
    found = [STEP.match(item) for item in items(walk)]
    assert all(found), [item for item, match in zip(items(walk), found, strict=True) if match is None]
    return [(match["file"], match["name"]) for match in found if match]


def find(name: str) -> tuple[object, str]:
    """Import a dotted name; return the object and its module's name."""
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:length])
        if (ROOT / Path(*parts[:length])).with_suffix(".py").is_file():
            found: object = importlib.import_module(module)
            for part in parts[length:]:
                found = getattr(found, part)
            return found, module
    raise ModuleNotFoundError(name)


@pytest.mark.parametrize("walk", WALKS)
def test_each_walk_has_its_first_and_last_step(walk: str) -> None:
    names = [name for _, name in steps(walk)]

    assert (names[0], names[-1]) == ENDS[walk]
    assert len(names) >= 6
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("file", "name"), [step for walk in WALKS for step in steps(walk)])
def test_each_step_names_a_function_or_class_of_its_file(file: str, name: str) -> None:
    found, module = find(name)

    assert module.replace(".", "/") + ".py" == file
    assert inspect.isroutine(found) or inspect.isclass(found)
    assert getattr(found, "__module__", None) == module


def test_the_numbers_of_each_walk_are_in_order() -> None:
    for walk in WALKS:
        numbers = [int(number) for number in re.findall(r"^(\d+)\. ", section(walk), flags=re.MULTILINE)]
        assert numbers == list(range(1, len(numbers) + 1)), walk


def test_the_folders_equal_the_packages_and_their_docstrings() -> None:
    rows = dict(re.findall(r"^\| `([\w/]+)/` \| (.+) \|$", section("Folders"), flags=re.MULTILINE))
    folders = {
        str(file.parent.relative_to(ROOT)): (ast.get_docstring(ast.parse(file.read_text())) or "").splitlines()[0]
        for package in PACKAGES
        for file in (ROOT / package).rglob("__init__.py")
    }

    assert rows == folders


def test_the_layers_equal_the_import_contracts() -> None:
    rows = dict(re.findall(r"^\| `([\w.]+)` \| (.+ → .+) \|$", section("Layers"), flags=re.MULTILINE))
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]

    assert {name: [layer.split(" \\| ") for layer in row.split(" → ")] for name, row in rows.items()} == {
        container: layers_of(container, contract["layers"])
        for contract in contracts
        if contract["type"] == "layers"
        for container in contract["containers"]
    }


def layers_of(container: str, layers: list[str]) -> list[list[str]]:
    """The layers of a contract without the modules, in parentheses, that need not exist."""
    folder = ROOT / container.replace(".", "/")
    named = [[name.strip("()") for name in layer.split(" | ")] for layer in layers]
    present = [
        [name for name in layer if (folder / name).is_dir() or (folder / f"{name}.py").is_file()] for layer in named
    ]
    return [layer for layer in present if layer]
