"""What others do, each in an environment of its own below a cache folder."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

CACHE = Path.home() / ".cache" / "tradeschool-bench"
PROGRAMS = Path(__file__).parent / "programs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A program, and what it needs."""

    name: str
    program: str
    requirements: tuple[str, ...]

    @property
    def python(self) -> Path:
        """The interpreter of its environment."""
        return CACHE / self.name / "bin" / "python"

    def command(self, *words: object) -> list[str]:
        """Its command line."""
        return [str(self.python), str(PROGRAMS / self.program), *map(str, words)]

    def install(self) -> None:
        """Make its environment where there is none yet; takes the network, and a minute, once."""
        installed = CACHE / self.name / ".installed"
        wanted = "\n".join(self.requirements)
        if installed.exists() and installed.read_text() == wanted:
            return
        subprocess.run([sys.executable, "-m", "venv", CACHE / self.name], check=True)
        subprocess.run([self.python, "-m", "pip", "install", "--quiet", *self.requirements], check=True)
        installed.write_text(wanted)

    def versions(self) -> str:
        """What is installed of what it needs."""
        names = [re.split(r"[=\[]", requirement)[0] for requirement in self.requirements]
        code = f"import importlib.metadata as m; print(', '.join(n + ' ' + m.version(n) for n in {names!r}))"
        return subprocess.run([self.python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


CCXT = Peer(name="ccxt", program="ccxt_loop.py", requirements=("ccxt==4.5.90",))
MEMORY = Peer(name="memory", program="memory_loop.py", requirements=("requests", "pandas", "pyarrow"))
"""A whole pair in memory, written at the end, as the field's downloaders do."""
