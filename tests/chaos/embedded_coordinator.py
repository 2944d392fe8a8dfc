"""A coordinator with the embedded server that it starts, and starts again, as a program: what `optimize resume` is."""

import runpy
import sys
from pathlib import Path

from tradeschool.embedded_valkey.server import EmbeddedValkey

if __name__ == "__main__":
    program = runpy.run_path(str(Path(__file__).parent.parent / "workers" / "coordinator_process.py"))
    with EmbeddedValkey.of(Path(sys.argv[1])).running():
        program["main"](sys.argv[2])
