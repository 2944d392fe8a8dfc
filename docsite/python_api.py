"""The reference page of the Python API, from its signatures and docstrings."""

import ast
import dataclasses
import inspect
import re
import textwrap
from itertools import pairwise
from typing import Any

import tradeschool
from docsite.markdown import code, page, paragraphs

INTRODUCTION = """\
`import tradeschool as ts` offers these names. [Python and notebooks](../how-to/python.md) shows them in use. A
`config` names another
settings file than `tradeschool.toml`."""


def api_page() -> str:
    """Return the page of all public names."""
    objects = {name: getattr(tradeschool, name) for name in tradeschool.__all__}
    functions = [_function(name, each) for name, each in objects.items() if inspect.isfunction(each)]
    classes = [_class(name, each) for name, each in objects.items() if inspect.isclass(each)]
    return page("Python API", INTRODUCTION, "## Functions", *functions, "## Classes", *classes)


def members(public: type) -> dict[str, Any]:
    """Return the public members of a class by name: fields, properties and methods that it defines itself."""
    fields = {each.name: each for each in dataclasses.fields(public)} if dataclasses.is_dataclass(public) else {}
    own = {name: each for name, each in vars(public).items() if not name.startswith("_") and name not in fields}
    described = {name: each for name, each in own.items() if isinstance(each, property) or inspect.isfunction(each)}
    return {name: each for name, each in (fields | described).items() if not name.startswith("_")}


def _function(name: str, function: Any) -> str:
    return f"### {name}\n\n{_signature(name, function)}\n\n{_text(function)}"


def _class(name: str, public: type) -> str:
    lines = [f"### {name}", _text(public)]
    texts = _attribute_texts(public)
    for member, each in members(public).items():
        if isinstance(each, property):
            lines.append(f"- {code(member)}: {_inline(each.fget)}")
        elif inspect.isfunction(each):
            lines.append(f"- {code(member + _parameters(each))}: {_inline(each)}")
        else:
            lines.append(f"- {code(member)}{': ' + texts[member] if member in texts else ''}")
    return _joined(lines)


def _joined(lines: list[str]) -> str:
    """Join paragraphs by empty lines and list items without."""
    text = ""
    for line in lines:
        text += ("\n" if line.startswith("- ") and text.rsplit("\n", 1)[-1].startswith("- ") else "\n\n") + line
    return text.strip()


def _signature(name: str, function: Any) -> str:
    """Return the signature as its source has it, one parameter a line."""
    node = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(node, ast.FunctionDef)
    given = node.args
    first = [None] * (len(given.args) - len(given.defaults)) + list(given.defaults)
    lines = [_parameter(arg, default) for arg, default in zip(given.args, first, strict=True)]
    if given.kwonlyargs:
        lines += ["*", *(_parameter(*each) for each in zip(given.kwonlyargs, given.kw_defaults, strict=True))]
    returns = ast.unparse(node.returns) if node.returns else "None"
    return "```text\n" + f"{name}(\n" + "".join(f"    {line},\n" for line in lines) + f") -> {returns}\n```"


def _parameter(arg: ast.arg, default: ast.expr | None) -> str:
    kind = f": {ast.unparse(arg.annotation)}" if arg.annotation else ""
    return f"{arg.arg}{kind}" + (f" = {ast.unparse(default)}" if default is not None else "")


def _parameters(function: Any) -> str:
    names = [name for name in inspect.signature(function).parameters if name != "self"]
    return f"({', '.join(names)})"


def _text(described: Any) -> str:
    """Return a docstring with its errors as a list."""
    text, _, errors = (inspect.getdoc(described) or "").partition("\nRaises:\n")
    joined = re.sub(r"\n {8,}", " ", textwrap.dedent(errors))
    rows = [" ".join(line.split()) for line in re.sub(r"\n +(?=[a-z])", " ", joined).splitlines() if line.strip()]
    listed = [f"- `{name}`: {why[:1].lower()}{why[1:]}" for name, _, why in (row.partition(": ") for row in rows)]
    return paragraphs(text) + ("\n\nRaises:\n\n" + "\n".join(listed) if listed else "")


def _inline(described: Any) -> str:
    return " ".join((inspect.getdoc(described) or "").split("\n\n", 1)[0].split())


def _attribute_texts(public: type) -> dict[str, str]:
    """Return the texts below the fields of a class."""
    found: dict[str, str] = {}
    body = ast.parse(textwrap.dedent(inspect.getsource(public))).body[0]
    statements = body.body if isinstance(body, ast.ClassDef) else []
    for field, text in pairwise(statements):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                found[name] = " ".join(words.split())
    return found
