"""Entry point of the `slopewise` command and of `python -m slopewise`."""

import sys


def main() -> None:
    """Run the command line, or say what it needs where only the layers are installed."""
    try:
        from slopewise.cli import main as run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("slopewise"):
            raise
        sys.stderr.write(f"error: the commands need '{error.name}': pip install 'slopewise[study]'\n")
        sys.exit(2)
    run()


if __name__ == "__main__":
    main()
