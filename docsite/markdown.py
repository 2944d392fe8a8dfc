"""Markdown text: tables, escaped cells, and help texts as paragraphs."""

import re
from collections.abc import Iterable, Sequence

GENERATED = "<!-- Generated from the code by scripts/docs. Do not edit. -->"
"""First line of every generated page."""


def page(title: str, *parts: str) -> str:
    """Return a generated page from its title and its parts; empty parts are left out."""
    return "\n\n".join([GENERATED, f"# {title}", *(part.strip("\n") for part in parts if part)]) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; a cell is one line, and its bars are escaped."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(cell(each) for each in row)} |" for row in rows)])


def cell(text: str) -> str:
    """Return the text of a table cell: one line, with escaped bars and without HTML outside of code."""
    joined = " ".join(text.split()).replace("|", "\\|")
    return "".join(
        part if part.startswith("`") else part.replace("<", "&lt;") for part in re.split(r"(`[^`]*`)", joined)
    )


def code(text: object) -> str:
    """Return inline code."""
    return f"`{text}`"


def paragraphs(text: str) -> str:
    """Return a docstring or help text as Markdown: one line per paragraph; indented or `\\b` blocks become code."""
    found = []
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = block.splitlines()
        if lines[0].strip() == "\b":
            found.append("\n".join(["```text", *_outdented(lines[1:]), "```"]))
        else:
            found.append(" ".join(block.split()))
    return "\n\n".join(found)


def _outdented(lines: Sequence[str]) -> list[str]:
    margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return [line[margin:].rstrip() for line in lines]
