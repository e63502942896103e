"""Version of the package, and how to cite it."""

from __future__ import annotations

from functools import cache
from importlib import metadata

AUTHOR = "The slopewise developers"
TITLE = "slopewise: what a learned negative slope does to the training of a CNN"
YEAR = 2026  # of the version's release; CITATION.cff has the same facts, which a test compares


@cache
def version() -> str:
    """Return the version of the installed package, as `slopewise.__version__` does.

    Raises:
        importlib.metadata.PackageNotFoundError: slopewise is imported from a source tree that is not installed.

    Example:
        >>> import slopewise
        >>> version() == slopewise.__version__
        True
    """
    return metadata.version("slopewise")


def bibtex(version: str) -> str:
    """Return the BibTeX entry of a version of slopewise.

    Args:
        version: Version to cite: for a study, the one that its trials ran with.

    Example:
        >>> print(bibtex("0.1.0"))
        @software{slopewise,
          author  = {{The slopewise developers}},
          title   = {{slopewise: what a learned negative slope does to the training of a CNN}},
          version = {0.1.0},
          year    = {2026}
        }
    """
    fields = {"author": f"{{{AUTHOR}}}", "title": f"{{{TITLE}}}", "version": version, "year": str(YEAR)}
    lines = ",\n".join(f"  {name:<7} = {{{value}}}" for name, value in fields.items())
    return f"@software{{slopewise,\n{lines}\n}}"
