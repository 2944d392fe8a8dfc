"""`python -m tradeschool`: the same program as `tradeschool`."""

from tradeschool.cli.main import main

if __name__ == "__main__":
    main()
