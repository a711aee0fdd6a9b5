"""Ports of this machine: sockets to listen at, and errors that say what to change."""

import errno
import socket


def listen(host: str, port: int, option: str = "--port") -> socket.socket:
    """Open a socket that listens at a port, 0 for a free one; OSError says to change `option`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise address_error(error, host, port, option) from error
    return listener


def url_host(host: str) -> str:
    """The host as addresses name it: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def check_port(host: str, port: int, option: str = "--port") -> int:
    """Check that a port is available, as `listen`; return it, or a free one for 0."""
    with listen(host, port, option) as listener:
        return listener.getsockname()[1]


def address_error(error: OSError, host: str, port: int, option: str) -> OSError:
    """Return the error of an address as one sentence with its remedy; any other as it is."""
    if error.errno == errno.EADDRINUSE:
        return OSError(f"Port {port} on {host} is in use; name another with {option}.")
    if error.errno == errno.EACCES and error.filename is None:
        return OSError(f"Port {port} on {host} may not be used; name one above 1023: {option}.")
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return OSError(f"{host} is no address of this machine; name another with --host.")
    return error
