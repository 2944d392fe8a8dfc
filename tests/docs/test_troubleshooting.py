"""Each message of docs/troubleshooting.md is a text of the code."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("fetcher", "optimizer", "tradeschool", "workers")
VALUE = "\0"
"""Stands for a value in a text."""
MESSAGES = re.findall(r"^\| `([^`]+)`", (ROOT / "docs" / "troubleshooting.md").read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def texts() -> str:
    """All texts of the code, those with values with a mark in place of each value."""
    found = []
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    found.append(
                        "".join(str(each.value) if isinstance(each, ast.Constant) else VALUE for each in node.values)
                    )
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(re.sub(r"\{\w+\}", VALUE, node.value))
    return "\n".join(found)


def test_the_page_has_messages() -> None:
    assert len(MESSAGES) > 30


@pytest.mark.parametrize("message", MESSAGES)
def test_each_message_is_a_text_of_the_code(message: str, texts: str) -> None:
    """`...` stands for the values and the text around them."""
    parts = [re.escape(part) for part in message.split("...")]

    assert re.search(rf"[^\n]*{VALUE}[^\n]*".join(parts), texts)
