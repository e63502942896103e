"""What every page is made of: templates, stylesheet, script and plotly.js in one offline file that appears whole."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from slopewise.analysis import verdict_words
from slopewise.drawing import _format
from slopewise.drawing._style import MARKERS
from slopewise.support import printable

_PACKAGES = ("slopewise.drawing", "slopewise.report.study", "slopewise.report.watch")


def render_page(template: str, *, scripts: Sequence[str] = ("figures.js", "page.js"), **context: Any) -> str:
    """A template on `_page.html.j2`, with plotly.js and its own scripts as the only ones that its policy lets run.

    Args:
        template: its name in the folder of templates.
        scripts: names of the scripts, likewise, in their order.
        context: what the template takes.
    """
    inline = [get_plotlyjs(), *map(_text, scripts)]
    page = templates().get_template(template)
    return page.render(style=_text("style.css"), scripts=inline, script_hashes=[*map(_hash, inline)], **context)


def write_page(page: str, path: str | os.PathLike[str]) -> Path:
    """Write a page beside its place and then move it there, so that it appears whole or not at all.

    Raises:
        OSError: the folder does not exist or cannot be written.
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
def templates() -> Environment:
    """The templates of all pages, with the filters and names that they use."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package) for package in _PACKAGES]),
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
        verdict_words=verdict_words,
        p_value=_format.p_value,
        count=_format.count,
        listing=_format.listing,
    )
    environment.globals.update(
        spread=_format.spread, symbols=_format.VERDICT_SYMBOLS, markers=MARKERS, nothing=_format.NOTHING
    )
    return environment


def _shown(value: Any) -> Any:
    """Return what a page shows of a value: HTML has no control characters, and others turn the text around them."""
    return value if isinstance(value, (Markup, int, float)) else printable(str(value), keep="\n\t")


def _text(name: str) -> str:
    return (files("slopewise.drawing") / "templates" / name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """The script's name in a Content-Security-Policy: no other script, injected or linked, may run."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
