"""A program with a coordinator and its embedded server, like `optimize resume`."""

import runpy
import sys
from pathlib import Path

from tradeschool.embedded_valkey.server import EmbeddedValkey

if __name__ == "__main__":
    program = runpy.run_path(str(Path(__file__).parent.parent / "workers" / "coordinator_process.py"))
    with EmbeddedValkey.of(Path(sys.argv[1])).running():
        program["main"](sys.argv[2])
