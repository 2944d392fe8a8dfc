"""Functions, argument lists and modules of the product stay small; each exception has its reason."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("fetcher", "optimizer", "tradeschool", "workers")
MAX_FUNCTION_LINES = 40
"""From `def` to the last line, decorators aside."""
MAX_ARGUMENTS = 8
"""`self` and `cls` aside."""
MAX_MODULE_LINES = 300
MANY_ARGUMENTS = {
    "tradeschool/api/backtests.py backtest": "keyword arguments of the Python API, named like the command's options",
    "tradeschool/api/runs.py optimize": "keyword arguments of the Python API, named like the command's options",
}
LONG_FUNCTIONS = {
    "tradeschool/api/runs.py optimize": "one line for each option of `optimize run`, as argument and as option",
}
LONG_MODULES = {
    "optimizer/backtest/kernel.py": "a compiled function may call only functions of its own module, see `jit`",
    "optimizer/backtest/reference.py": "a compiled function may call only functions of its own module, see `jit`",
}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules() -> Iterator[tuple[str, str]]:
    """Each module's path and text."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield str(path.relative_to(ROOT)), path.read_text()


def functions() -> Iterator[tuple[str, Function]]:
    """Each function with its name after the path of its module."""
    for path, text in modules():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, Function):
                yield f"{path} {node.name}", node


def lines_of(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def arguments_of(function: Function) -> int:
    named = [each.arg for each in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]
    return len(named) - (named[:1] in (["self"], ["cls"]))


def test_no_function_is_long() -> None:
    found = {name: lines for name, function in functions() if (lines := lines_of(function)) > MAX_FUNCTION_LINES}

    assert found.keys() == LONG_FUNCTIONS.keys(), "split the function, or remove an exception not needed"


def test_no_function_takes_many_arguments() -> None:
    found = {name: count for name, function in functions() if (count := arguments_of(function)) > MAX_ARGUMENTS}

    assert found.keys() == MANY_ARGUMENTS.keys(), "group arguments in a value object, or remove an exception not needed"


def test_no_module_is_long() -> None:
    found = {path: lines for path, text in modules() if (lines := text.count("\n")) > MAX_MODULE_LINES}

    assert found.keys() == LONG_MODULES.keys(), "split the module along its meaning, or remove an exception not needed"
