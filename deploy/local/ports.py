"""Ports on loopback, free by choice and remembered between runs so that a bookmarked page keeps its address."""

import socket
from collections.abc import Iterable, Mapping

LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    """Whether a server could bind the port on loopback now. Connections of an earlier run in TIME_WAIT do not count, as for any server."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """A port that nobody on loopback uses at this moment, chosen by the kernel."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
        s.bind((LOOPBACK, 0))
        port: int = s.getsockname()[1]
        return port


def reserve(names: Iterable[str], remembered: Mapping[str, int]) -> dict[str, int]:
    """A distinct free port for each name: the remembered one where it is still free, else a new one."""
    chosen: dict[str, int] = {}
    for name in names:
        port = remembered.get(name)
        # A new port may by chance be one that a later name remembers: leave those alone too.
        taken = set(chosen.values())
        if port is None or port in taken or not is_free(port):
            taken |= set(remembered.values())
            port = free_port()
            while port in taken:
                port = free_port()
        chosen[name] = port
    return chosen
