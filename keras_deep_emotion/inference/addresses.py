"""Addresses of served models.

An address is `SCHEME://HOST[:PORT][/NAME[/versions/N | /labels/LABEL]]`:

- `grpc` (port 8500 by default), or `grpcs` over TLS;
- `http` (port 8501 by default), or `https`; REST may be below a path, `HOST/PATH/v1/models/NAME`.

NAME is the model's, `ferplus` by default; the server's own URLs, such as
`/v1/models/NAME:predict` or `/v1/models/NAME/metadata`, are accepted too.
"""

import ipaddress
import os
import re
import urllib.request
from dataclasses import dataclass

from keras_deep_emotion.exports import is_version

ADDRESS = re.compile(
    r"(?P<scheme>grpcs?|https?)://(?P<host>\[[^]]+\]|[^][/:?#@]+)(:(?P<port>\d+))?"
    r"((?P<prefix>(/+[^/?#]+)*?)/+v1/models)?"
    r"(/+(?P<name>[^/?#:]+)(/versions/(?P<version>\d+)|/labels/(?P<label>[^/?#:]+))?)?"
    r"(:(predict|classify|regress)|/metadata)?/*",
    re.ASCII,
)
PORTS = {"grpc": 8500, "grpcs": 8500, "http": 8501, "https": 8501}
DEFAULT_NAME = "ferplus"


@dataclass(frozen=True)
class ServerAddress:
    """Address of a served model."""

    scheme: str
    target: str  # HOST:PORT
    name: str
    version: int | None
    label: str | None  # of a version
    prefix: str = ""  # path of a REST server before /v1, such as "/serving"

    @classmethod
    def parse(cls, text: str) -> "ServerAddress":
        """Parse an address."""
        match = ADDRESS.fullmatch(text)
        numbers = (match["port"] or "0", match["version"] or "0") if match else ()
        is_rest = match and match["scheme"].startswith("http")
        if (
            not numbers
            or not all(map(is_version, numbers))
            or int(numbers[0]) > 65535
            or (match["prefix"] and not is_rest)
        ):
            raise ValueError(
                "A server is SCHEME://HOST[:PORT][/NAME[/versions/N or /labels/LABEL]], scheme "
                f"grpc, grpcs, http or https. Received: {text[:200]!r}"
            )
        return cls(
            scheme=match["scheme"],
            target=f"{match['host']}:{match['port'] or PORTS[match['scheme']]}",
            name=match["name"] or DEFAULT_NAME,
            version=match["version"] and int(match["version"]),
            label=match["label"],
            prefix=match["prefix"] or "",
        )

    @property
    def host(self) -> str:
        """HOST, without brackets."""
        return self.target.rpartition(":")[0].strip("[]")

    @property
    def is_loopback(self) -> bool:
        """Whether it is an address of this machine, which is never asked through a proxy."""
        return is_loopback(self.host) or self.host in ("0.0.0.0", "::")

    def proxy(self) -> str | None:
        """The proxy that the environment has for it, without a password, or None."""
        if self.is_loopback or urllib.request.proxy_bypass(self.host):
            return None
        if self.scheme.startswith("grpc"):  # as gRPC looks for it, for both schemes
            found = (os.environ.get(f"{kind}_proxy") for kind in ("grpc", "https", "http"))
        else:
            found = map(urllib.request.getproxies().get, (self.scheme, "all"))
        proxy = next(filter(None, found), None)
        return proxy and re.sub("[^/]*@", "", proxy)

    @property
    def route(self) -> str:
        """Words for the proxy that it is asked through, for an error; empty without one."""
        proxy = self.proxy()
        return f", asked through the proxy {proxy}," if proxy else ""

    @property
    def path(self) -> str:
        """NAME, NAME/versions/N or NAME/labels/LABEL."""
        if self.label:
            return f"{self.name}/labels/{self.label}"
        return self.name if self.version is None else f"{self.name}/versions/{self.version}"

    def __str__(self) -> str:
        prefix = f"{self.prefix}/v1/models" if self.prefix else ""
        return f"{self.scheme}://{self.target}{prefix}/{self.path}"


def is_loopback(host: str) -> bool:
    """Whether an address or a name is reachable from this machine only."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.lower().rstrip(".")
        return name == "localhost" or name.endswith(".localhost")
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
