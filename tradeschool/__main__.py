"""Entry point of `python -m tradeschool`, the same program as the `tradeschool` command."""

import os
import sys

if __name__ == "__main__":
    # The working folder comes first: no file in it is to stand in for a module of ours, unless it is our own home.
    # Until then nothing is imported that the interpreter has not imported itself; pathlib is not among it.
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120  # see above
    if not sys.flags.safe_path and os.path.realpath(sys.path[0]) != os.path.realpath(home):
        del sys.path[0]

from tradeschool.cli.main import main

if __name__ == "__main__":
    main()
