"""The commands: thin verbs over the API.

Exit status: 0 done; 1 some trial failed, an alarm under --fail-on-alarm, or an error of ours; 2 bad input; 130
interrupted; 143 terminated. Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import io
import sys
import traceback
import warnings
from pathlib import Path
from typing import TextIO, cast

import typer

from slopewise.cli import _study as _study  # each registers its commands, in the order of the help
from slopewise.cli import _tools as _tools
from slopewise.cli._app import app as app
from slopewise.cli._app import say
from slopewise.errors import SlopewiseError
from slopewise.support import printable, shortened


def main() -> None:
    """Run the command line."""
    # A user's own modules lie beside the spec, that is where the command is typed; workers inherit the path.
    sys.path.insert(0, str(Path.cwd()))
    for out in (sys.stdout, sys.stderr):
        if isinstance(out, io.TextIOWrapper):
            out.reconfigure(errors="replace")  # a narrow encoding costs a sign, not the table
    warnings.showwarning = _warn
    try:
        status = app(standalone_mode=False)
    except SlopewiseError as error:
        say(f"error: {error}")
        status = 2
    except _UsageError as error:  # quotes arguments as they are
        said = io.StringIO()
        error.show(said)
        sys.stderr.write(shortened(said.getvalue(), _LONGEST, keep="\n"))
        status = error.exit_code
    except Exception:  # an error of ours, or of a user's code: as Python shows it, but printable
        sys.stderr.write(printable(traceback.format_exc(), keep="\n\t"))
        status = 1
    sys.exit(status)


_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__bases__[0])  # click's, or typer's own
_LONGEST = 2000  # characters of what is wrong with arguments


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Say our own warnings in one line; where in the code they are raised is of no use to who typed a command."""
    if category.__module__.startswith("slopewise."):
        say(f"warning: {message}")
    else:
        shown = warnings.formatwarning(message, category, filename, lineno, line)
        (file or sys.stderr).write(printable(shown, keep="\n\t"))
