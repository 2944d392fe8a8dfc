"""Test results do not depend on the speed of the machine: a search of all test sources for constructs that would."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CLOCKS = {"monotonic", "perf_counter", "process_time", "time"}
WAITS = {"timeout", "wait_for", "wait", "communicate", "join", "acquire", "result", "run"}
SHORTEST_SECONDS = 60


def called(node: ast.AST) -> str:
    """The last part of what a call names, or an empty text."""
    if not isinstance(node, ast.Call):
        return ""
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def is_elapsed(node: ast.AST) -> bool:
    """Whether the node subtracts clock times, such as `time.monotonic() - began`."""
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub) and called(node.left) in CLOCKS


def limits(node: ast.AST) -> Iterator[float]:
    """Literal time-outs of a call in seconds."""
    if called(node) not in WAITS or not isinstance(node, ast.Call):
        return
    given = [each.value for each in node.keywords if each.arg == "timeout"]
    given += node.args[:1] if called(node) == "timeout" else []
    given += node.args[1:2] if called(node) == "wait_for" else []
    yield from (each.value for each in given if isinstance(each, ast.Constant) and isinstance(each.value, int | float))


def parts(node: ast.AST) -> Iterator[ast.AST]:
    """A node and its children, except expected failures, whose time-out is intended."""
    if isinstance(node, ast.With | ast.AsyncWith) and any(called(each.context_expr) == "raises" for each in node.items):
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from parts(child)


def complaints(source: str) -> list[str]:
    found = []
    for node in parts(ast.parse(source)):
        if isinstance(node, ast.Compare) and any(is_elapsed(each) for each in (node.left, *node.comparators)):
            found.append(f"line {node.lineno}: measured time is compared; assert order, cause or a count instead")
        found += [
            f"line {node.lineno}: waits {each:g} s at most, not {SHORTEST_SECONDS}"  # type: ignore[attr-defined]  # a call has a line
            for each in limits(node)
            if each < SHORTEST_SECONDS
        ]
    return found


def test_no_test_depends_on_the_speed_of_the_machine() -> None:
    found = {str(path.relative_to(HERE)): complaints(path.read_text()) for path in sorted(HERE.rglob("*.py"))}

    assert {name: told for name, told in found.items() if told} == {}


@pytest.mark.parametrize(
    ("source", "is_wrong"),
    [
        ("assert time.monotonic() - began < 3", True),
        ("assert 3 > perf_counter() - began", True),
        ("process.wait(timeout=20)", True),
        ("async with asyncio.timeout(5): pass", True),
        ("await asyncio.wait_for(news, 1.0)", True),
        ("while time.monotonic() < end: pass", False),
        ("process.wait(timeout=60)", False),
        ("with pytest.raises(TimeoutError):\n    await asyncio.wait_for(news, 0.05)", False),
        ("took = clock.now - began\nassert took == 3", False),
    ],
)
def test_the_checker_detects_machine_dependent_code(source: str, is_wrong: bool) -> None:
    """A source with `await` outside of a function is parsed too."""
    assert bool(complaints(source)) is is_wrong
