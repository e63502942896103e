"""Studies and watched loops while they run, as pages on this machine. `make_app` is the server's application."""

from slopewise.live._app import make_app as make_app
from slopewise.live._server import serve as serve
from slopewise.live._study import Study as Study
