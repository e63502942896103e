"""Entry point of the `slopewise` command and of `python -m slopewise`."""

import gc
import sys
from collections.abc import Callable


def main() -> None:
    """Run the command line, or say what it needs where only the layers are installed."""
    gc.set_threshold(100_000)  # by default, collections take a fifth of the time in which PyTorch is imported
    try:
        _command()()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    finally:
        # The interpreter would look through all of PyTorch for cycles before it ends, which takes a second.
        gc.freeze()


def _command() -> Callable[[], None]:
    try:
        from slopewise.cli import main as run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("slopewise"):
            raise
        sys.stderr.write(f"error: the commands need '{error.name}': pip install 'slopewise[study]'\n")
        sys.exit(2)
    return run


if __name__ == "__main__":
    main()
