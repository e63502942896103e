"""`python -m slopewise` is the `slopewise` command."""

from slopewise.cli import main

if __name__ == "__main__":
    main()
