"""Lets ``python -m poolwise`` be the command."""

from poolwise.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
