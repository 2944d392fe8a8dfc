"""Entry point of `python -m tradeschool`, the same program as the `tradeschool` command."""

from tradeschool.cli.main import main

if __name__ == "__main__":
    main()
