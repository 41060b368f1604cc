"""Which addresses may be fetched: judged on the address connected to, so that neither a redirect nor a name that changes its mind leads inside."""

import ipaddress
import socket
from collections.abc import Iterable
from typing import Any

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052
_GLOBAL_V6 = ipaddress.ip_network("2000::/3")  # all that IANA has given out for the open internet (RFC 4291, section 2.4)
_ISATAP = 0x00005EFE, 0x02005EFE  # RFC 5214: what stands before the IPv4 address in the last 64 bits
# What `is_global` of Python 3.11 passes, though no feed is there: documentation (RFC 9637), special purposes (RFC 6890), old 6to4 relays (RFC 7526).
_NOT_GLOBAL = tuple(map(ipaddress.ip_network, ("3fff::/20", "192.0.0.0/24", "192.88.99.0/24")))
# The "bad ports" of the Fetch standard (fetch.spec.whatwg.org, port blocking): services that an HTTP request must not be smuggled to.
BAD_PORTS = frozenset(
    [0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110, 111, 113, 115, 117, 119,
     123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993,
     995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080]
)  # fmt: skip


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

    def check(self, text: str, port: int = 443) -> None:
        """Raises Forbidden for an address that is neither global nor allowed, or a port of another service on an address that is not allowed."""
        address: Address = ipaddress.ip_address(text.split("%")[0])
        inner = _inner(address)
        if any(candidate in network for candidate in (address, inner) for network in self._ranges if candidate.version == network.version):
            return
        if not (_is_global(address) and _is_global(inner)):
            raise Forbidden(f"{text} is not a global address: add the host to allow_hosts in feedloop.yaml if it may be fetched")
        if port in BAD_PORTS:
            raise Forbidden(f"port {port} is not one of the web: add the host to allow_hosts in feedloop.yaml if it may be fetched all the same")

    def open_socket(self, info: tuple[Any, ...]) -> socket.socket:
        """For aiohttp's TCPConnector(socket_factory=…): the socket for an address, once it is found allowed."""
        family, kind, protocol, _, address = info
        self.check(address[0], address[1])
        return socket.socket(family, kind, protocol)


def _is_global(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and not (address in _GLOBAL_V6 or address in _NAT64 or address.ipv4_mapped):
        return False  # IPv4-compatible, site-local, NAT64 of a local network (64:ff9b:1::/48): Python takes them for global
    if any(address in network for network in _NOT_GLOBAL if network.version == address.version):
        return False
    return (address.is_global or bool(getattr(address, "ipv4_mapped", None))) and not address.is_multicast


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for (mapped, 6to4, NAT64, ISATAP), else the address itself."""
    if isinstance(address, ipaddress.IPv6Address):
        if embedded := address.ipv4_mapped or address.sixtofour:
            return embedded
        last = int(address) & 0xFFFFFFFF
        if address in _NAT64 or (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
            return ipaddress.IPv4Address(last)
    return address
