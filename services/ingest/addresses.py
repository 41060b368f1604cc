"""Which addresses may be fetched: judged on the address connected to, so that neither a redirect nor a name that changes its mind leads inside."""

import ipaddress
import socket
from collections.abc import Iterable
from typing import Any

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Forbidden(OSError):
    """The address is not one that may be fetched."""


class Allowed:
    """Global addresses, and the hosts and ranges that the user allows besides."""

    def __init__(self, hosts: Iterable[str] = ()) -> None:
        self._names: set[str] = set()
        self._ranges: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        for host in hosts:
            try:
                self._ranges.append(ipaddress.ip_network(host, strict=False))
            except ValueError:
                self._names.add(host.lower().rstrip("."))

    def trusts(self, host: str) -> bool:
        """Whether the user allowed this host by its name, wherever it leads."""
        return host.lower().rstrip(".") in self._names

    def check(self, text: str) -> None:
        """Raises Forbidden for an address that is neither global nor allowed."""
        address: Address = ipaddress.ip_address(text.split("%")[0])
        inner = _inner(address)
        if any(candidate in network for candidate in (address, inner) for network in self._ranges if candidate.version == network.version):
            return
        if not (address.is_global and inner.is_global) or address.is_multicast or inner.is_multicast:
            raise Forbidden(f"{text} is not a global address: add the host to allow_hosts in feedloop.yaml if it may be fetched")

    def open_socket(self, info: tuple[Any, ...]) -> socket.socket:
        """For aiohttp's TCPConnector(socket_factory=…): the socket for an address, once it is found allowed."""
        family, kind, protocol, _, address = info
        self.check(address[0])
        return socket.socket(family, kind, protocol)


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for (mapped, 6to4, NAT64), else the address itself."""
    if isinstance(address, ipaddress.IPv6Address):
        if embedded := address.ipv4_mapped or address.sixtofour:
            return embedded
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address
