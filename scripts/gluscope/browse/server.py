"""The process of a live site: its address, how to reach it from elsewhere, and its end."""

from __future__ import annotations

import errno
import os
import secrets
import socket
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import uvicorn

from gluscope.browse.app import OwnText, make_app
from gluscope.browse.guard import LOOPBACK, TOKEN
from gluscope.browse.maker import PageMaker
from gluscope.browse.pages import LivePages
from gluscope.browse.workshop import Workshop
from gluscope.core.errors import ConfigError
from gluscope.workflow.reach import way_here

PORT = 8765
_WAITING = 300  # pieces of work: a call to have pages made, and clicks
_AT_ONCE = 100  # open connections
_PATIENCE = 5  # seconds that requests under way get when the server is told to end


@dataclass(frozen=True)
class Place:
    """host: address to listen at; the machine's own users alone reach 127.0.0.1."""

    host: str = "127.0.0.1"
    port: int = PORT

    @property
    def loopback(self) -> bool:
        return self.host in LOOPBACK

    @property
    def names(self) -> frozenset[str]:
        """What a browser may call the server."""
        if self.loopback:
            return LOOPBACK
        return LOOPBACK | {self.host, socket.gethostname(), socket.getfqdn()}


def listen(place: Place) -> socket.socket:
    """Raises ConfigError with a free port where the port is taken, and for an address that is not this machine's."""
    kind = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    server = socket.socket(kind, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind((place.host, place.port))
        server.listen(_AT_ONCE)
    except OSError as error:
        server.close()
        where = f"port {place.port} of {place.host}"
        if error.errno == errno.EADDRINUSE:
            step = f"say --port {_free_port(place.host, kind)} (PORT= with make), or end what listens there"
            raise ConfigError(where, "a free port", "one that is in use", step) from error
        step = "say another --host or --port"
        raise ConfigError(where, "an address to listen at", os.strerror(error.errno or 0), step) from error
    return server


def _free_port(host: str, kind: socket.AddressFamily) -> int:
    with closing(socket.socket(kind, socket.SOCK_STREAM)) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def serve(
    maker: PageMaker, own: OwnText | None, server: socket.socket, place: Place, say: Callable[[str], None]
) -> None:
    """Answer until Ctrl-C. server: from `listen`. own: what a loaded model does with a text."""
    token = secrets.token_urlsafe(24)
    workshop = Workshop(_WAITING)
    app = make_app(LivePages(maker, workshop), workshop, own, token, place.names)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, proxy_headers=False, ws="none", lifespan="off",
        limit_concurrency=_AT_ONCE, timeout_graceful_shutdown=_PATIENCE,
    )  # fmt: skip
    port = int(server.getsockname()[1])
    for line in welcome(maker.served.run, place.host, port, token):
        say(line)
    try:
        uvicorn.Server(config).run(sockets=[server])
    except KeyboardInterrupt:  # uvicorn has ended well, and passes it on
        pass
    finally:
        workshop.close()
        server.close()
    say("The server has ended.")


def welcome(run: str, host: str, port: int, token: str) -> list[str]:
    """The address, and how to come to it from another computer, a line each."""
    name = f"[{host}]" if ":" in host else {"0.0.0.0": socket.gethostname()}.get(host, host)
    lines = [f"The neurons of {run}, until Ctrl-C:", f"  http://{name}:{port}/?{TOKEN}={token}"]
    if host in LOOPBACK:
        lines.append("From another computer, type there first, and leave it open:")
        lines.append(f"  ssh -N -L {port}:{name}:{port} {way_here()}")
    else:
        lines.append(f"Everyone who reaches {name} and has the token can use it.")
    return lines
