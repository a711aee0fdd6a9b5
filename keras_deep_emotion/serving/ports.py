"""Ports of this machine: whether one can be had, and in words why not."""

import errno
import socket


def check_port(host, port, option="--port"):
    """See that a port can be listened at, before a library that says at length what is wrong.

    Args:
        host: name or address to listen at.
        port: port, or 0.
        option: what sets the port, for the message.

    Returns:
        The port; for 0 one that is free.

    Raises:
        OSError: the port is taken, or the host is no address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise address_error(error, host, port, option) from error
        return probe.getsockname()[1]


def address_error(error, host, port, option):
    """An OSError of an address as a sentence with the remedy; any other as it is."""
    if error.errno == errno.EADDRINUSE:
        return OSError(f"Port {port} on {host} is in use; name another with {option}.")
    if error.errno == errno.EACCES and error.filename is None:
        return OSError(f"Port {port} on {host} may not be used; name one above 1023: {option}.")
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return OSError(f"{host} is no address of this machine; name another with --host.")
    return error
