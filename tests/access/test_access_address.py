from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt_platform.access.address import Address, AddressBook, Client, Network, client_key

PROXIES = ("10.0.0.0/8", "fd00::/8", "192.0.2.1/32")
PROXY = "10.0.0.1"

trusted_text = st.sampled_from(
    ["10.0.0.1", " 10.9.9.9", "fd00::1", "[fd00::2]:443", "192.0.2.1:80", "::ffff:10.0.0.3", "fd00::1%eth0"]
)
stranger_text = st.sampled_from(
    ["203.0.113.9", "2001:db8::1", "[2001:db8::1]:443", "192.0.2.2", "198.51.100.7:8080", "::ffff:198.51.100.7"]
)
JUNK = [
    "unknown",
    "_hidden",
    "",
    " ",
    '"203.0.113.9"',
    "for=203.0.113.9",
    "localhost",
    "010.0.0.1",
    "0x0a.0.0.1",
    "167772161",
    "10.1",
    "10.0.0.256",
    "10.0.0.1.",
    "10.0.0.1/32",
    "10.0.0.1:",
    "10.0.0.1:65536",
    "10.0.0.1:80:80",
    "10.0.0.1:_port",
    "10.0.0.1%eth0",
    "[10.0.0.1]",
    "[fd00::1",
    "fd00::1]",
    "[fd00::1]x",
    "[fd00::1]80",
    "[[fd00::1]]",
    "fd00::1%",
    "fd00::1::2",
    ":::",
    "12345::",
    "\u0661\u0660.0.0.1",  # Arabic digits
    "\uff11\uff10.0.0.1",  # full-width digits
    "10\u30020\u30020\u30021",  # ideographic full stops
    "10.0.0.1\x00",
    "10.0.0.1\n",
    "10.0.0.1\xa0",
    "10.0.0.1 10.0.0.2",
    "10.0.0.1;",
    "\ud800",
    "9" * 5000,
]
junk_text = st.one_of(st.sampled_from(JUNK), st.text(alphabet=st.characters(exclude_characters=",")))


def networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)


def book(
    trusted: tuple[str, ...] = PROXIES, allow: tuple[str, ...] = (), deny: tuple[str, ...] = ()
) -> AddressBook:
    return AddressBook(networks(*trusted), networks(*allow), networks(*deny))


# The limiter's key.


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
    ],
)
def test_client_key(address: str, key: str) -> None:
    assert client_key(ip_address(address)) == key


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_one_key_within_a_64_and_another_outside(subnet: int, host: int, other: int) -> None:
    first, second = IPv6Address(subnet << 64 | host), IPv6Address(subnet << 64 | other)
    if subnet:  # ::/64 holds the mapped IPv4 addresses
        assert client_key(first) == client_key(second)
    assert client_key(first) != client_key(IPv6Address((subnet ^ 1) << 64 | host))


@given(st.ip_addresses(v=4))
def test_a_mapped_address_has_the_key_of_the_plain_one(address: IPv4Address) -> None:
    assert client_key(IPv6Address(f"::ffff:{address}")) == client_key(address) == str(address)


# The address behind proxies.


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        ("203.0.113.9", "", "203.0.113.9"),
        ("203.0.113.9", "198.51.100.7", "203.0.113.9"),
        (PROXY, "", PROXY),
        (PROXY, "198.51.100.7", "198.51.100.7"),
        (PROXY, "1.1.1.1, 198.51.100.7", "198.51.100.7"),
        (PROXY, "1.1.1.1,198.51.100.7,10.0.0.2", "198.51.100.7"),
        (PROXY, "1.1.1.1, 198.51.100.7 ,\t10.0.0.2, fd00::5", "198.51.100.7"),
        (PROXY, "10.0.0.4, 10.0.0.3", "10.0.0.4"),
        (PROXY, "198.51.100.7, unknown", PROXY),
        (PROXY, "198.51.100.7, unknown, 10.0.0.2", "10.0.0.2"),
        (PROXY, "198.51.100.7,", PROXY),
        (PROXY, "198.51.100.7:1234", "198.51.100.7"),
        (PROXY, "[2001:db8::1]:1234", "2001:db8::1"),
        (PROXY, "[2001:DB8:0::1]", "2001:db8::1"),
        (PROXY, "fe80::1%eth0", "fe80::1"),
        (PROXY, "[fe80::1%eth0]:80", "fe80::1"),
        (PROXY, "::ffff:198.51.100.7", "198.51.100.7"),
        (PROXY, "[::ffff:c633:6407]:80", "198.51.100.7"),
        ("::ffff:10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("fd00::1%3", "198.51.100.7", "198.51.100.7"),
        ("192.0.2.2", "198.51.100.7", "192.0.2.2"),
    ],
)
def test_the_rightmost_address_that_is_not_trusted(peer: str, forwarded_for: str, address: str) -> None:
    known = book()
    expected = Client(address, client_key(ip_address(address)), allowed=True)
    assert known.client(peer, forwarded_for) == expected
    assert known.client(peer, forwarded_for) == expected  # remembered


@pytest.mark.parametrize("junk", JUNK)
def test_what_cannot_be_read_falls_back_to_the_hop_that_is_true(junk: str) -> None:
    assert book().client(PROXY, f"198.51.100.7, {junk}, 10.0.0.2").address == "10.0.0.2"


def is_trusted(address: Address) -> bool:
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    return any(address in network for network in networks(*PROXIES))


@given(
    st.ip_addresses().filter(lambda address: not is_trusted(address)),
    st.text() | st.lists(trusted_text | stranger_text | junk_text).map(",".join),
)
def test_an_untrusted_peer_cannot_change_who_it_is(peer: Address, forwarded_for: str) -> None:
    known = book()
    without = known.client(str(peer), "")
    assert without.key == client_key(peer)
    assert known.client(str(peer), forwarded_for) == without
    assert book().client(str(peer), forwarded_for) == without


@given(st.text(), st.text())
def test_junk_never_raises_and_never_comes_out(peer: str, forwarded_for: str) -> None:
    known = book()
    for client in (known.client(peer, forwarded_for), known.client(PROXY, forwarded_for)):
        assert client.address == "unknown" or ip_address(client.address)


@given(st.lists(trusted_text | stranger_text | junk_text, max_size=12))
def test_the_walk_agrees_with_a_slow_model(entries: list[str]) -> None:
    plain = {"192.0.2.1:80": "192.0.2.1", "[fd00::2]:443": "fd00::2", "::ffff:10.0.0.3": "10.0.0.3"}
    plain |= {"fd00::1%eth0": "fd00::1", " 10.9.9.9": "10.9.9.9", "[2001:db8::1]:443": "2001:db8::1"}
    plain |= {"198.51.100.7:8080": "198.51.100.7", "::ffff:198.51.100.7": "198.51.100.7"}
    plain |= {text: text for text in ("10.0.0.1", "fd00::1", "203.0.113.9", "2001:db8::1", "192.0.2.2")}
    expected = PROXY
    for entry in reversed(entries):
        if entry not in plain:
            break
        expected = plain[entry]
        if not is_trusted(ip_address(expected)):
            break
    assert book().client(PROXY, ",".join(entries)).address == expected


def test_a_long_header_is_read_from_the_right_and_only_so_far() -> None:
    known = book()
    many = ",".join(["1.1.1.1"] * 100_000)
    assert known.client(PROXY, f"{many},198.51.100.7").address == "198.51.100.7"
    assert known.client(PROXY, f"198.51.100.7,{','.join(['10.0.0.2'] * 63)}").address == "198.51.100.7"
    assert known.client(PROXY, f"198.51.100.7,{','.join(['10.0.0.2'] * 64)}").address == "10.0.0.2"


def test_an_entry_cut_by_the_bound_is_not_read() -> None:
    padding = " " * (4096 - len("1.2.3.4,10.0.0.2"))
    assert book().client(PROXY, f"91.2.3.4,{padding}10.0.0.2").address == "10.0.0.2"
    assert book().client(PROXY, f"1.2.3.4,{padding}10.0.0.2").address == "1.2.3.4"


def test_rotating_addresses_do_not_pile_up() -> None:
    known = book()
    for number in range(10_000):
        address = str(IPv4Address(0xC6000000 + number))
        assert known.client(address, "") == known.client(PROXY, address)
        assert known.client(address, "").address == address
    assert len(known._known) <= 4096


@given(st.lists(st.lists(trusted_text | stranger_text | junk_text, max_size=6).map(",".join), max_size=8))
def test_what_proxies_said_before_changes_nothing(values: list[str]) -> None:
    known = book()
    for value in [*values, *values]:
        assert known.client(PROXY, value) == book().client(PROXY, value)
        assert known.client("203.0.113.1", value).address == "203.0.113.1", "who is no proxy is not believed"


def test_what_proxies_say_does_not_pile_up() -> None:
    known = book()
    assert known.client(PROXY, "203.0.113.7" + " " * 300).address == "203.0.113.7"
    assert known._forwarded == {}, "it is too long"
    for number in range(40_000):
        address = str(IPv4Address(0xC6000000 + number))
        assert known.client(PROXY, address).address == address
    assert len(known._forwarded) == 16384
    for number in range(16384, 16384 * 7):
        known.client(PROXY, str(IPv4Address(0xC7000000 + number)))
    assert str(IPv4Address(0xC6000000)) not in known._forwarded, "in time those that call now have the places"


# The lists.


@pytest.mark.parametrize(
    ("address", "allow", "deny", "allowed"),
    [
        ("203.0.113.9", (), (), True),
        ("203.0.113.9", ("203.0.113.0/24",), (), True),
        ("203.0.114.9", ("203.0.113.0/24",), (), False),
        ("203.0.113.9", (), ("203.0.113.9/32",), False),
        ("203.0.113.8", (), ("203.0.113.9/32",), True),
        ("203.0.113.9", ("203.0.113.9/32",), ("203.0.113.0/24",), False),
        ("::ffff:203.0.113.9", ("203.0.113.0/24",), (), True),
        ("::ffff:203.0.113.9", (), ("203.0.113.0/24",), False),
        ("203.0.113.9", (), ("::ffff:203.0.113.0/120",), False),
        ("203.0.113.9", ("::ffff:0:0/96",), (), True),
        ("203.0.113.9", ("::/0",), (), False),
        ("2001:db8::1", ("::/0",), (), True),
        ("2001:db8::1", ("0.0.0.0/0",), (), False),
        ("2001:db8::1%eth0", ("2001:db8::/32",), (), True),
        ("2001:db8::1", ("2001:db8::1/128", "10.0.0.0/8"), (), True),
        ("2001:db8::2", ("2001:db8::1/128", "10.0.0.0/8"), (), False),
        ("/run/web.sock", (), ("10.0.0.0/8",), True),
        ("", ("0.0.0.0/0", "::/0"), (), False),
    ],
)
def test_allow_and_deny(address: str, allow: tuple[str, ...], deny: tuple[str, ...], allowed: bool) -> None:
    assert book((), allow, deny).client(address, "").allowed is allowed


def test_the_lists_look_at_the_client_and_not_at_its_proxy() -> None:
    known = book(allow=("198.51.100.0/24",), deny=("198.51.100.66/32",))
    assert known.client(PROXY, "198.51.100.7").allowed
    assert not known.client(PROXY, "198.51.100.66").allowed
    assert not known.client(PROXY, "").allowed
    assert not known.client(PROXY, "198.51.100.7, junk").allowed


@pytest.mark.parametrize("peer", ["", "/run/web.sock", "@", "unix:", "\x00web", "<script>"])
def test_a_peer_without_an_address_is_one_unknown_client(peer: str) -> None:
    assert book().client(peer, "198.51.100.7") == Client("unknown", "unknown", allowed=True)


@given(
    st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)), max_size=6),
    st.lists(st.integers(0, 32), max_size=2),
    st.ip_addresses(v=4),
)
def test_the_lists_agree_with_ipaddress(
    subnets: list[tuple[int, int]], around: list[int], address: IPv4Address
) -> None:
    """``around``: prefix lengths of networks that do hold the address."""
    subnets += [(int(address), bits) for bits in around]
    nets = [ip_network((number, bits), strict=False) for number, bits in subnets]
    inside = any(address in network for network in nets)
    assert AddressBook((), (), nets).client(str(address), "").allowed is not inside
    assert AddressBook((), nets, ()).client(str(address), "").allowed is (inside or not nets)
