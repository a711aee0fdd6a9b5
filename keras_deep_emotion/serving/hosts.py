"""Host and Origin of requests: which names a server answers to, against pages of other sites.

A page that a browser shows can send requests to this machine. By DNS rebinding it can even read the
answers: its own name then leads here, and `Host` still has that name. Standard library only.
"""

import contextlib
import json
import re
import socket
from collections.abc import Iterable

HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^]\[:/?#@\s]+?)\.?(:\d*)?")


class HostCheck:
    """ASGI middleware that refuses requests to other names, and from pages of other sites.

    Answered are localhost, 127.0.0.1, [::1], `host`, the machine's name, the address at which the
    request arrives, and `others`. An Origin must be the request's own Host.

    Args:
        app: The ASGI application.
        host: Address that is listened at.
        others: More names.
    """

    def __init__(self, app, host: str, others: Iterable[str] = ()):
        machine = socket.gethostname()
        names = {"localhost", "127.0.0.1", "::1", host, machine, machine.partition(".")[0], *others}
        self.app, self.names = app, {name.lower().strip("[]") for name in names}

    async def __call__(self, scope, receive, send):
        """Answer as the application does, or with status 403."""
        problem = None
        if scope["type"] in ("http", "websocket"):
            problem = self.problem(scope)
        if problem is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": problem})
        else:
            headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
            body = json.dumps({"error": problem}).encode() + b"\n"
            with contextlib.suppress(Exception):  # the client broke the protocol, and is refused
                await send({"type": "http.response.start", "status": 403, "headers": headers})
                await send({"type": "http.response.body", "body": body})

    def problem(self, scope) -> str | None:
        """Why a request is refused, a sentence; None if it is not."""
        headers = dict(scope["headers"])
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        host = b", ".join(hosts).decode("latin-1").lower()
        match = HOST.fullmatch(host)
        name = match and match[1].strip("[]")
        arrived = (scope.get("server") or ("",))[0]
        if name is None or name not in self.names | {arrived}:
            return (
                f"Host {host[:200]!r} is not a name of this server. Use its address or localhost, "
                "or start it with --allow-host NAME."
            )
        origin = headers.get(b"origin")
        if origin is not None and origin.decode("latin-1").lower().partition("://")[2] != host:
            return "Requests from pages of other sites are not answered."
        return None
