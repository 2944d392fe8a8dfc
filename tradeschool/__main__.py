"""`python -m tradeschool`: the same program as `tradeschool`."""

import sys

if __name__ == "__main__":
    if not sys.flags.safe_path:  # the working folder comes first: no file in it is to stand in for a module of ours
        sys.path.append(sys.path.pop(0))

from tradeschool.cli.main import main

if __name__ == "__main__":
    main()
