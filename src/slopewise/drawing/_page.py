"""Frame of every page: templates, stylesheet, scripts and plotly.js in one offline file, written atomically."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from slopewise.drawing import _format
from slopewise.drawing._style import MARKERS
from slopewise.drawing._typeset import typeset
from slopewise.support import printable

_ROOM = "slopewise.drawing"


def render_page(
    template: str, package: str, *, scripts: Sequence[str] = ("figures.js", "page.js"), **context: Any
) -> str:
    """Return a page on the frame `_page.html.j2`, typeset.

    Its policy lets no scripts run but plotly.js and the given ones.

    Args:
        template: Name of the page's template.
        package: Package whose folder "templates" has it.
        scripts: Names of this room's scripts, in the order in which they run.
        context: Variables of the template.
    """
    inline = [get_plotlyjs(), *map(asset, scripts)]
    page = templates(package).get_template(template)
    html = page.render(style=asset("style.css"), scripts=inline, script_hashes=[*map(_hash, inline)], **context)
    return typeset(html)


def write_page(page: str, path: str | os.PathLike[str]) -> Path:
    """Write a page into a file beside its place, then move it there: readers see the old page or the whole new one.

    Raises:
        OSError: The folder does not exist or cannot be written.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_text(page, encoding="utf-8", newline="\n")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


@cache
def templates(*packages: str, **filters: Callable[..., Any]) -> Environment:
    """Return the templates of packages and of this room, with the filters and globals that they use.

    Args:
        packages: Packages with a folder "templates". Of templates with one name, the first package's is used.
        filters: Further filters, by name.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package) for package in (*packages, _ROOM)]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}
    environment.filters.update(
        number=_format.number,
        signed=_format.signed,
        interval=_format.interval,
        p_value=_format.p_value,
        count=_format.count,
        listing=_format.listing,
        typeset=typeset,
        **filters,
    )
    environment.globals.update(meanings=_meanings(), spread=_format.spread, markers=MARKERS, nothing=_format.NOTHING)
    return environment


def asset(name: str, package: str = _ROOM) -> str:
    """Return the text of a script or a stylesheet in a package's folder "templates"."""
    return (files(package) / "templates" / name).read_text(encoding="utf-8")


@cache
def _meanings() -> dict[str, str]:
    """Return the meaning of each word of docs/glossary.md, from the file that tools/glossary.py makes of it."""
    meanings: dict[str, str] = json.loads(asset("glossary.json"))
    return meanings


def _shown(value: Any) -> Any:
    """Escape control characters, which HTML does not have, and those that reverse the text around them."""
    return value if isinstance(value, (Markup, int, float)) else printable(str(value), keep="\n\t")


def _hash(script: str) -> str:
    """Return a script's name in a Content-Security-Policy: no other script, injected or linked, may run."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
