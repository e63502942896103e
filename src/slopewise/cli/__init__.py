"""Commands: thin verbs over the API.

Exit status: 0 done; 1 a failed trial, an alarm under --fail-on-alarm, or an error in slopewise; 2 bad input; 130
interrupted; 75 terminated by SIGTERM, to be run again. Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import io
import sys
import traceback
import warnings
from pathlib import Path
from typing import TextIO, cast

import typer

from slopewise.cli import _run as _run  # each registers its commands, in the order of the help
from slopewise.cli import _seeds as _seeds
from slopewise.cli import _study as _study
from slopewise.cli import _study_predict as _study_predict
from slopewise.cli import _study_words as _study_words
from slopewise.cli import _table as _table
from slopewise.cli import _timing as _timing
from slopewise.cli import _tools as _tools
from slopewise.cli._app import app as app
from slopewise.cli._app import say
from slopewise.errors import SlopewiseError
from slopewise.support import printable, shortened


def main() -> None:
    """Run the command line."""
    # Users' own modules lie in the working directory, beside the spec. Workers inherit the path.
    sys.path.insert(0, str(Path.cwd()))
    for out in (sys.stdout, sys.stderr):
        if isinstance(out, io.TextIOWrapper):
            out.reconfigure(errors="replace")  # a character that the encoding lacks must not stop a table
    warnings.showwarning = _warn
    try:
        status = app(standalone_mode=False, prog_name="slopewise")  # the name that shells complete
    except SlopewiseError as error:
        say(f"error: {error}")
        status = 2
    except _UsageError as error:  # its message quotes arguments unescaped
        message = io.StringIO()
        error.show(message)
        sys.stderr.write(shortened(message.getvalue(), _LONGEST, keep="\n"))
        status = error.exit_code
    except Exception:  # an error in slopewise or in a user's code: shown as Python does, but printable
        sys.stderr.write(printable(traceback.format_exc(), keep="\n\t"))
        status = 1
    sys.exit(status)


_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__bases__[0])  # click's, or typer's own
_LONGEST = 2000  # characters of a message about arguments


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print slopewise's own warnings in one line, without the place in the code, which does not help users."""
    if category.__module__.startswith("slopewise."):
        say(f"warning: {message}")
    else:
        shown = warnings.formatwarning(message, category, filename, lineno, line)
        (file or sys.stderr).write(printable(shown, keep="\n\t"))
