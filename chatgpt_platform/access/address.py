"""Who a caller is, by address: behind trusted proxies, under the allow and deny lists, and for the limits.

    book = AddressBook(trusted_proxies, allow, deny)          # one for each configuration
    client = book.client("203.0.113.9", forwarded_for)        # the socket's peer; all X-Forwarded-For values

Each proxy appends the address that called it, so X-Forwarded-For is true from its right end for as long as
the one who wrote the entry is trusted; all left of that anybody may have made up. The walk therefore goes
from the right: a trusted entry vouches for the next one, the first that is not trusted is the client, and
one that cannot be read ends it at the last address known to be true.

An IPv4 address in IPv6 clothes (``::ffff:192.0.2.1``) is that IPv4 address everywhere, zones are dropped.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from socket import inet_aton, inet_ntoa
from typing import Final, TypeVar

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_MAX_ENTRIES: Final = 64
_MAX_TEXT: Final = 4096
"""How much of X-Forwarded-For is looked at, from the right: far more than any chain of real proxies."""

_MAX_KNOWN: Final = 4096
"""Addresses remembered. Those that rotate past it only cost being parsed again."""

_MAX_FORWARDED: Final = 16384
_LONGEST_FORWARDED: Final = 256
"""Values of X-Forwarded-For that are remembered: how many, and the characters of one."""

_PATIENCE: Final = 4
"""Times as many looks for others, once all places are taken, after which they are given to those that call now."""

_V4: Final = r"[0-9.]{7,15}"
_V6: Final = r"[0-9A-Fa-f:.]{2,45}"
_ZONE: Final = r"(?:%[0-9A-Za-z._~:@-]{1,64})?"
_PORT: Final = r"(?::([0-9]{1,5}))?"
_ENTRY: Final = re.compile(rf"({_V4}){_PORT}|\[({_V6}){_ZONE}\]{_PORT}|({_V6}){_ZONE}")
"""An address as proxies write it, with or without port, brackets and zone. Digits are ASCII digits only."""


@dataclass(slots=True)
class Client:
    """A caller. Never changed; not frozen, since that would triple what it takes to make one.

    ``address``: its address, written by us, never the text that was sent. ``key``: what its limits count by.
    ``allowed``: whether the allow and deny lists let it in.
    """

    address: str
    key: str
    allowed: bool


_Known = tuple[Client, bool]
"""A caller, and whether it is a trusted proxy."""

_Value = TypeVar("_Value")


class _Memory(dict[str, _Value]):
    """What was found for a text, for up to ``most`` of them."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most: Final = most
        self._misses = 0

    def put(self, text: str, value: _Value) -> None:
        """Remember it, if there is room."""
        if len(self) >= self._most:
            # Not in place of another at once: where more call than fit, those that do fit go on being found.
            self._misses += 1
            if self._misses < _PATIENCE * self._most:
                return
            self._misses = 0
            self.clear()
        self[text] = value


def client_key(address: Address) -> str:
    """What limits count by: an IPv4 address as text, or an IPv6 subnet like ``2001:db8:1:2::/64``.

    One host may use any of the 2**64 addresses of its subnet (RFC 4291, 2.5.4): each for itself is no limit.
    """
    address = _unmapped(address)
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((int(address) >> 64 << 64, 64)))


class AddressBook:
    """The address rules of one configuration: three lists of networks.

    An empty ``allow`` means everyone; ``deny`` wins. A network inside ``::ffff:0:0/96`` is the IPv4 network
    that it stands for; any other IPv6 network holds no IPv4 address.
    """

    def __init__(
        self,
        trusted_proxies: Iterable[Network],
        allow: Iterable[Network],
        deny: Iterable[Network],
    ) -> None:
        self._trusted: Final = _by_version(trusted_proxies)
        self._allow: Final = _by_version(allow)
        self._deny: Final = _by_version(deny)
        self._allows_all: Final = not any(self._allow.values())
        self._known: Final[_Memory[_Known]] = _Memory(_MAX_KNOWN)
        self._forwarded: Final[_Memory[Client]] = _Memory(_MAX_FORWARDED)
        self._unknown: Final = Client("unknown", "unknown", allowed=self._allows_all)

    def client(self, peer: str, forwarded_for: str) -> Client:
        """Who calls.

        ``peer``: the socket's address. ``forwarded_for``: the values of all X-Forwarded-For headers in order,
        joined by commas; ``""`` for none. A peer without an address (a Unix socket) is the one client
        ``unknown``, let in only where there is no allow list.
        """
        known = self._lookup(peer)
        if known is None:
            return self._unknown
        client, trusted = known
        if not (trusted and forwarded_for):
            return client
        forwarded = self._forwarded.get(forwarded_for)
        if forwarded is not None:
            return forwarded
        found = self._walk(forwarded_for)
        if found is None:
            return client
        if len(forwarded_for) <= _LONGEST_FORWARDED:
            self._forwarded.put(forwarded_for, found)
        return found

    def _walk(self, forwarded_for: str) -> Client | None:
        """Who called a trusted proxy; None where it did not write an address."""
        client = None
        for entry in _from_right(forwarded_for):
            further = self._judged_text(entry)
            if further is None:
                break
            client, trusted = further
            if not trusted:
                break
        return client

    def _lookup(self, text: str) -> _Known | None:
        """What the lists say of the address in a text; None where it cannot be read."""
        known = self._known.get(text)
        if known is None:
            known = self._judged_text(text)
            if known is not None:
                self._known.put(text, known)
        return known

    def _judged_text(self, text: str) -> _Known | None:
        text = text.strip(" \t")
        value = _plain_v4(text)
        if value is not None:
            return self._judged(text, text, 4, value)
        address = _read(text)
        if address is None:
            return None
        return self._judged(str(address), client_key(address), address.version, int(address))

    def _judged(self, address: str, key: str, version: int, value: int) -> _Known:
        allow, deny, trusted = self._allow[version], self._deny[version], self._trusted[version]
        allowed = not (deny and _hold(deny, value)) and (self._allows_all or _hold(allow, value))
        return Client(address, key, allowed), _hold(trusted, value)


_Networks = list[tuple[int, set[int]]]
"""Networks of one IP version by the length of their prefixes: bits behind it, and the prefixes as numbers."""


def _by_version(networks: Iterable[Network]) -> dict[int, _Networks]:
    prefixes: dict[tuple[int, int], set[int]] = defaultdict(set)
    for network in map(_unmapped_network, networks):
        shift = network.max_prefixlen - network.prefixlen
        prefixes[network.version, shift].add(int(network.network_address) >> shift)
    return {
        version: [(shift, found) for (of, shift), found in prefixes.items() if of == version] for version in (4, 6)
    }


def _hold(networks: _Networks, value: int) -> bool:
    """Whether an address, as a number, lies in one of them. One step for each prefix length in use."""
    for shift, found in networks:  # noqa: SIM110 - any() would cost more than the look
        if value >> shift in found:
            return True
    return False


def _unmapped(address: Address) -> Address:
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or address
    return address


def _unmapped_network(network: Network) -> Network:
    if isinstance(network, IPv6Network) and network.prefixlen >= 96:
        inside = network.network_address.ipv4_mapped
        if inside is not None:
            return IPv4Network((inside, network.prefixlen - 96))
    return network


def _plain_v4(text: str) -> int | None:
    """The number of an IPv4 address that is written as we would write it, as nearly all are."""
    try:
        packed = inet_aton(text)  # takes more than that, such as 127.1
    except (OSError, ValueError):  # the latter for characters that no address has
        return None
    return int.from_bytes(packed, "big") if inet_ntoa(packed) == text else None


def _read(text: str) -> Address | None:
    """The address in one entry; None where it cannot be read."""
    match = _ENTRY.fullmatch(text)
    if match is None:
        return None
    v4, v4_port, bracketed, v6_port, bare = match.groups()
    if int(v4_port or v6_port or 0) > 65535:
        return None
    try:
        return IPv4Address(v4) if v4 else _unmapped(IPv6Address(bracketed or bare))
    except ValueError:
        return None


def _from_right(forwarded_for: str) -> Iterator[str]:
    """The entries, last first, within the bounds.

    One that the bound cuts in two is left out: its half may read as another address.
    """
    end = len(forwarded_for)
    start = max(0, end - _MAX_TEXT)
    for _ in range(_MAX_ENTRIES):
        comma = forwarded_for.rfind(",", start, end)
        if comma < 0:
            if start == 0:
                yield forwarded_for[:end]
            return
        yield forwarded_for[comma + 1 : end]
        end = comma
