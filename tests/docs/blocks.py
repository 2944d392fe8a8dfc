"""Code blocks of the documentation, and the commands in them."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PROGRAM = "tradeschool"


@dataclass(frozen=True)
class Block:
    """One code block."""

    page: str
    line: int
    label: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """README, the contributor's page, and every page of the site."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted(DOCS.rglob("*.md"))]


def blocks(*labels: str) -> list[Block]:
    """The code blocks with one of these labels; all of them without a label."""
    found = []
    for path in pages():
        lines, begin = path.read_text().splitlines(), None
        for number, line in enumerate(lines, 1):
            if not line.startswith("```"):
                continue
            if begin is None:
                begin = number
                continue
            label = lines[begin - 1].removeprefix("```")
            text = "\n".join(lines[begin : number - 1])
            found.append(Block(str(path.relative_to(ROOT)), begin, label, text))
            begin = None
        assert begin is None, f"{path}: the block of line {begin} has no end"
    return [block for block in found if not labels or block.label in labels]


def command_lines(block: Block) -> list[str]:
    """The commands of a console block without their comments."""
    lines = [re.sub(r"\s+#.*$", "", line).strip() for line in block.text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def program_words(line: str) -> list[str] | None:
    """The arguments of `tradeschool` in a command line, None for another program; variables before it are left out."""
    words = shlex.split(line)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    return words[1:] if words[:1] == [PROGRAM] else None


def inline_commands() -> list[tuple[str, str]]:
    """Page and text of every command in running text: `tradeschool ...` in code."""
    found = []
    for path in pages():
        text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
        found += [(str(path.relative_to(ROOT)), each) for each in re.findall(r"`(tradeschool [^`]+)`", text)]
    return found
