"""Application of the server: pages and the few files that they load, by GET and from this origin alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from plotly.offline import get_plotlyjs
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from slopewise.drawing import asset
from slopewise.live._watched import Page, Watched

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)  # Plotly styles its own elements
# A report has its scripts in itself, named by their digests in a policy of its own, and runs as a page of no origin: it
# must not reach the server that it comes from.
_REPORT_POLICY = (
    "sandbox allow-scripts allow-modals; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def make_app(folder: str | Path, hosts: Sequence[str] = ("127.0.0.1", "localhost", "::1", "[::1]")) -> Starlette:
    """Return the ASGI application that shows the runs below a folder.

    Args:
        folder: Folder of studies and recordings.
        hosts: Names that requests may have in their Host header. Others are refused, since a foreign page whose name
            is made to point here (DNS rebinding) could read the answers.

    Example:
        >>> [route.path for route in make_app(".").routes]
        ['/', '/runs/{key}', '/runs/{key}/report', '/static/{name}']
    """
    watched = Watched(Path(folder))
    assets = {
        "plotly.js": ("text/javascript", get_plotlyjs().encode()),
        "figures.js": ("text/javascript", asset("figures.js").encode()),
        "live.js": ("text/javascript", asset("live.js", "slopewise.live").encode()),
        "style.css": ("text/css", asset("style.css").encode()),
        "live.css": ("text/css", asset("live.css", "slopewise.live").encode()),
    }
    tags = {name: f'"{hashlib.sha256(data).hexdigest()[:32]}"' for name, (_, data) in assets.items()}

    def index(request: Request) -> Response:
        return _page(request, watched.index())

    def run(request: Request) -> Response:
        page = watched.run(request.path_params["key"])
        if page is None:
            raise HTTPException(404, "no such run: it is not in the folder (any more)")
        return _page(request, page)

    def report(request: Request) -> Response:
        data = watched.report(request.path_params["key"])
        if data is None:
            raise HTTPException(404, "this run has no report (any more)")
        answer = _answer(request, f'"{hashlib.sha256(data).hexdigest()[:32]}"', data, "text/html")
        answer.headers["Content-Security-Policy"] = _REPORT_POLICY
        return answer

    def static(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in assets:
            raise HTTPException(404)
        kind, data = assets[name]
        return _answer(request, tags[name], data, kind)

    return Starlette(
        routes=[
            Route("/", index),
            Route("/runs/{key}", run),
            Route("/runs/{key}/report", report),
            Route("/static/{name}", static),
        ],
        middleware=[
            Middleware(_Guarded),
            Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False),
            Middleware(_OwnOrigin),
            Middleware(GZipMiddleware, minimum_size=4096, compresslevel=1),
        ],
    )


def _page(request: Request, page: Page) -> Response:
    return _answer(request, page.tag, page.text.encode(), "text/html")


def _answer(request: Request, tag: str, data: bytes, kind: str) -> Response:
    """Return the data, or 304 if the browser has them already."""
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    known = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
    if tag in known:
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=kind, headers=headers)


class _OwnOrigin:
    """Middleware that refuses requests which a page of another origin has made; links from elsewhere are followed."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _is_foreign(Headers(scope=scope)):
            refusal = Response("refused: the request comes from a page of another origin", status_code=403)
            await refusal(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _is_foreign(headers: Headers) -> bool:
    """Return True if a page of another origin has made a request.

    `Origin` must name the host that the request is sent to, which is one of ours. Browsers send `Sec-Fetch-Site` with
    requests without an `Origin`, too; of those from elsewhere, only the one that opens the page itself is answered.
    """
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2].lower() != headers.get("host", "").lower():
        return True
    site, mode = headers.get("sec-fetch-site", "none"), headers.get("sec-fetch-mode", "navigate")
    return site not in ("none", "same-origin") and mode != "navigate"


class _Guarded:
    """Middleware that adds headers to every answer, refusals included, that keep other origins out."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, guarded)
