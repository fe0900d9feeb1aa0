"""REGISTER: what is promised is in the log before the 200, and nothing else is promised."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from pbx.calls.registration import AHEAD_NS, unrecorded
from pbx.commands import digest_secrets
from pbx.domain.accounts import AccountAliasesSet, AccountDeleted, AccountPasswordSet
from pbx.domain.bindings import BindingAdded, BindingRefreshed, BindingRemoved
from pbx.eventlog import Conflict, LogUnavailable, OutcomeUnknown
from pbx.kernel.errors import ClusterAway
from sip.registrar import Binding
from tests.unit.pbx.calls.lab import Lab

ADDRESS = "alice@example.org"


def _lab(**config: Any) -> Lab:
    lab = Lab("", **config)
    lab.add("alice", "alice", bind=False)
    return lab


def _register(
    lab: Lab,
    name: str = "alice",
    lines: str = "Expires: 600\r\n",
    *,
    user: str = "alice",
    contact: bool = True,
    domain: str = "example.org",
) -> None:
    """Send a REGISTER in a dialog of its own name, or again in the same."""
    phone = lab.phones[name.partition(".")[0]]
    dialog = lab.dialogs.get(name)
    if dialog is None:
        dialog = lab._new_dialog(phone, name, name)
        dialog.local = dialog.remote = f"<sip:{user}@{domain}>"
    phone.request(dialog, "REGISTER", f"sip:{domain}", lines, raw=False, contact=contact)


def _versions(lab: Lab) -> list[int]:
    return [version for stream, version, _, _ in lab.log.events if stream.startswith("binding/")]


def _contacts(lab: Lab) -> list[str]:
    return [contact.uri for contact in lab.node.locations.contacts(ADDRESS)]


def test_decided_before_the_answer() -> None:
    """The 200 waits for the append; until then nobody rings there."""
    lab = _lab()
    lab.log.slow = True
    _register(lab)
    lab.quiet()
    assert _contacts(lab) == []
    lab.log.decide_all()
    lab.pump()
    lab.play("alice < 200 | Contact: <sip:alice@203.0.113.11:5060>;expires=600")
    assert _contacts(lab) == ["sip:alice@203.0.113.11:5060"]
    (added,) = lab.log.of(BindingAdded)
    assert added.remote == "203.0.113.11:5060"


def test_a_refresh_that_is_written_is_durable_before_the_200() -> None:
    """What a 200 has promised is known after a crash at any moment."""
    lab = _lab()
    _register(lab)
    lab.play("alice < 200")
    lab.log.slow = True
    lab.advance(60)
    _register(lab)
    lab.quiet()
    assert lab.log.of(BindingRefreshed) == []
    lab.log.decide_all()
    lab.pump()
    lab.play("alice < 200 | expires=600")
    assert len(lab.log.of(BindingRefreshed)) == 1
    assert lab.log.alone == [False, True], "no other node has to agree"
    assert _versions(lab) == [1, 2]
    lab.advance(599)
    assert len(_contacts(lab)) == 1


def test_a_refresh_that_the_log_knows_does_not_wait() -> None:
    lab = _lab()
    for _ in range(2):
        _register(lab)
        lab.play("alice < 200")
        lab.advance(60)
    lab.log.slow = True
    _register(lab)
    lab.play("alice < 200 | expires=600")
    assert len(lab.log.of(BindingRefreshed)) == 1


@pytest.mark.parametrize("noticed", [True, False])
def test_refreshes_go_on_while_the_log_takes_nothing(noticed: bool) -> None:
    """The phone is there; its refresh is queued until it can be written."""
    lab = _lab()
    _register(lab)
    lab.play("alice < 200")
    lab.advance(60)
    lab.log.healthy = not noticed
    lab.log.refusal = LogUnavailable("full")
    _register(lab)
    lab.play("alice < 200 | expires=600")
    assert _versions(lab) == [1, 2]
    lab.advance(599)
    assert len(_contacts(lab)) == 1


def test_refreshes_are_recorded_ahead() -> None:
    """A phone behind NAT refreshes every minute; the log hears of it every ten minutes, and at no
    moment would a server that starts from the log have forgotten the phone."""
    lab = _lab()
    lab.node.start("1", 1, (), lab.now)
    _register(lab)
    lab.play("alice < 200")
    for _ in range(60):
        lab.advance(60)
        _register(lab)
        lab.play("alice < 200 | expires=600")
        (binding,) = lab.node.locations.location(ADDRESS).bindings
        (stored,) = _stored(lab)
        assert binding.expires_ns <= stored.expires_ns
        assert (stored.remote, stored.nat) == (binding.remote, binding.nat)
    assert 5 <= len(lab.log.of(BindingRefreshed)) <= 7
    lab.advance(601)
    assert [event.reason for event in lab.log.of(BindingRemoved)] == ["expired"], "not a day later"
    assert _stored(lab) == ()


def test_refresh_that_came_another_way_is_recorded() -> None:
    """After a restart calls must go where the phone is now."""
    lab = _lab()
    _register(lab)
    lab.play("alice < 200")
    location = lab.node.locations.location(ADDRESS)
    (binding,) = location.bindings
    later = replace(binding, expires_ns=binding.expires_ns + 1)
    assert len(unrecorded(location, [later])) == 1
    assert unrecorded(location, [later]) == []
    for moved in (
        replace(later, remote="203.0.113.99:5060"),
        replace(later, local="192.0.2.9:5060"),
        replace(later, transport="tcp"),
        replace(later, nat=not later.nat),
        replace(later, sip_call_id="another"),
        replace(later, expires_ns=later.expires_ns + AHEAD_NS + 1),
    ):
        assert len(unrecorded(location, [moved])) == 1
        assert unrecorded(location, [moved]) == []
    # Contacts that are gone leave nothing behind.
    for number in range(20):
        assert unrecorded(location, [replace(later, contact_id=str(number))])
        assert len(location.recorded) == 1


def _stored(lab: Lab) -> tuple[Binding, ...]:
    """What a server would know that starts now."""
    fresh = Lab("").node.locations
    for stream, version, event, _ in lab.log.events:
        if stream == f"binding/{ADDRESS}":
            fresh.fold(stream, version, event)
    return fresh.location(ADDRESS).bindings


def test_expiry() -> None:
    lab = _lab()
    lab.node.start("1", 1, (), lab.now)
    _register(lab)
    lab.play("alice < 200")
    lab.advance(600.5)
    (removed,) = lab.log.of(BindingRemoved)
    assert removed.reason == "expired"
    assert lab.node.statistics()["bindings"] == 0
    _register(lab)
    lab.play("alice < 200")
    assert _versions(lab) == [1, 2, 3]


def test_unregister() -> None:
    lab = _lab()
    _register(lab)
    lab.play("alice < 200")
    _register(lab, lines="Contact: *\r\nExpires: 0\r\n", contact=False)
    lab.play("alice < 200 | !Contact")
    assert _contacts(lab) == []


def test_query() -> None:
    """No Contact: what is there; nothing is written."""
    lab = _lab()
    _register(lab)
    lab.play("alice < 200")
    _register(lab, lines="", contact=False)
    lab.play("alice < 200 | Contact: <sip:alice@203.0.113.11:5060>;expires=600")
    assert _versions(lab) == [1]


def test_too_brief() -> None:
    lab = _lab()
    _register(lab, lines="Expires: 10\r\n")
    lab.play("alice < 423 | Min-Expires: 60")


def test_wrong_account_and_domain() -> None:
    lab = _lab()
    lab.add("bob", "bob", bind=False)
    phone = lab.phones["alice"]
    dialog = lab._new_dialog(phone, "alice", "alice")
    dialog.local = dialog.remote = "<sip:bob@example.org>"
    phone.request(dialog, "REGISTER", "sip:example.org", raw=False)
    lab.play("alice < 403")
    _register(lab, "alice.2", domain="elsewhere.example")
    lab.play("alice.2 < 404")
    dialog = lab._new_dialog(phone, "alice.3", "alice.3")
    dialog.local = dialog.remote = "<tel:+49>"
    phone.request(dialog, "REGISTER", "sip:example.org", raw=False)
    lab.play("alice.3 < 404")


def test_trusted_sources_register_with_a_password_too() -> None:
    lab = _lab(client_ips=(ip_network("203.0.113.0/24"),))
    phone = lab.phones["alice"]
    dialog = lab._new_dialog(phone, "alice", "alice")
    dialog.local = dialog.remote = "<sip:alice@example.org>"
    phone.request(dialog, "REGISTER", "sip:example.org", raw=True)
    lab.play("alice < 401")


def test_log_is_away() -> None:
    """503 and when to come back; afterwards it works as if nothing had been."""
    lab = _lab()
    lab.log.healthy = False
    _register(lab)
    lab.play("alice < 503 | Retry-After:")
    lab.log.healthy = True
    lab.log.refusal = LogUnavailable("full")
    _register(lab)
    lab.play("alice < 503 | Retry-After:")
    lab.log.refusal = None
    _register(lab)
    lab.play("alice < 200")
    assert _versions(lab) == [1]


def test_conflict() -> None:
    """Another writer was there: refused, but not for ever."""
    lab = _lab()
    lab.log.refusal = Conflict(f"binding/{ADDRESS}", 0, 7)
    _register(lab)
    lab.play("alice < 503")
    lab.log.refusal = None
    _register(lab)
    lab.play("alice < 200")
    assert _versions(lab) == [8]


def test_phones_come_back_while_the_nodes_cannot_agree() -> None:
    """This node decides alone: that a phone is here is a fact. The next ones do not wait for it."""
    lab = _lab()
    lab.add("bob", "bob", bind=False)
    lab.log.refusal = ClusterAway("Kafka does not take it")
    _register(lab)
    lab.play("alice < 200")
    assert _contacts(lab) != []
    _register(lab, "bob", user="bob")
    lab.play("bob < 200")
    assert lab.log.alone == [False, True, True]
    _register(lab, lines="Expires: 0\r\n")
    lab.play("alice < 200")
    assert _contacts(lab) == []
    assert _versions(lab) == [1, 1, 2]
    lab.advance(11)
    lab.log.refusal = None
    _register(lab)
    lab.play("alice < 200")
    assert lab.log.alone == [False, True, True, True, False], "the nodes are asked again"


def test_what_is_not_certain_is_not_decided_alone() -> None:
    """The change may still be made, or this node's own disk takes nothing: nothing is promised."""
    lab = _lab()
    for refusal in (OutcomeUnknown("lost"), LogUnavailable("full")):
        lab.log.refusal = refusal
        _register(lab)
        lab.play("alice < 503 | Retry-After:")
    assert lab.log.alone == [False, False]


def test_expiry_while_the_nodes_cannot_agree_is_a_fact() -> None:
    lab = _lab()
    lab.node.start("1", 1, (), lab.now)
    _register(lab)
    lab.play("alice < 200")
    lab.log.refusal = ClusterAway("Kafka does not take it")
    lab.advance(601)
    (removed,) = lab.log.of(BindingRemoved)
    assert removed.reason == "expired"
    assert lab.log.alone == [False, False, True]
    lab.log.refusal = None
    _register(lab)
    lab.play("alice < 200")
    assert _versions(lab) == [1, 2, 3]


@pytest.mark.parametrize(
    ("refusal", "version"), [(LogUnavailable("full"), 2), (Conflict("binding/x", 1, 5), 6)]
)
def test_expiry_that_cannot_be_written(refusal: Exception, version: int) -> None:
    """The disk was full when a binding lapsed: its phone can register again all the same."""
    lab = _lab()
    lab.node.start("1", 1, (), lab.now)
    _register(lab)
    lab.play("alice < 200")
    lab.log.refusal = refusal
    lab.advance(601)
    assert lab.log.of(BindingRemoved) == []
    lab.log.refusal = None
    _register(lab)
    lab.play("alice < 200")
    assert _versions(lab)[-1] == version


def test_requests_of_one_address_are_taken_in_turn() -> None:
    """While an append runs the others wait, and each is evaluated on what it left."""
    lab = _lab()
    lab.add("desk", "alice", bind=False)
    lab.log.slow = True
    _register(lab)
    _register(lab, "desk")
    _register(lab, "desk.2", lines="", contact=False)
    lab.quiet()
    lab.log.decide_all()
    lab.pump()
    lab.play("alice < 200 | Contact: <sip:alice@203.0.113.11:5060>;expires=600")
    lab.quiet()
    lab.log.decide_all()
    lab.pump()
    lab.play("""
        desk < 200 | Contact: <sip:desk@203.0.113.12:5060>;expires=600
        | Contact: <sip:alice@203.0.113.11:5060>;expires=600
        desk.2 < 200 | Contact: <sip:desk@203.0.113.12:5060>;expires=600
    """)
    assert _versions(lab) == [1, 2]


def test_too_many_wait() -> None:
    """What waits is bounded: 16, then 503."""
    lab = _lab()
    lab.log.slow = True
    for number in range(18):
        _register(lab, f"alice.{number}", lines="", contact=number == 0)
    lab.play("alice.17 < 503")
    lab.log.decide_all()
    lab.pump()
    for number in range(17):
        lab.play(f"alice.{number} < 200")
    lab.quiet()


def test_contacts_per_account_and_in_all() -> None:
    lab = _lab(contacts_per_account=1, registrations=1)
    _register(lab)
    lab.play("alice < 200")
    lab.add("desk", "alice", bind=False)
    _register(lab, "desk")
    lab.play("desk < 403")
    lab.add("bob", "bob", bind=False)
    _register(lab, "bob", user="bob")
    lab.play("bob < 503 | Retry-After:")
    # A binding that is only moved needs no room.
    _register(lab)
    lab.play("alice < 200")


def test_account_is_deleted() -> None:
    """Its bindings go; what waits behind an append is refused."""
    lab = _lab()
    _register(lab)
    lab.play("alice < 200")
    lab.node.directory.apply(
        f"account/{ADDRESS}", AccountDeleted(name="alice", domain="example.org")
    )
    lab.node.locations.account_changed(
        f"account/{ADDRESS}", AccountDeleted(name="alice", domain="example.org")
    )
    assert [event.reason for event in lab.log.of(BindingRemoved)] == ["admin"]
    assert _contacts(lab) == []
    lab.node.locations.account_changed(
        "account/nobody@example.org", AccountDeleted(name="alice", domain="example.org")
    )


def test_account_is_deleted_while_it_registers() -> None:
    """A binding that was written meanwhile is taken back; waiting requests get 403."""
    lab = _lab()
    lab.log.slow = True
    _register(lab)
    _register(lab, "alice.2", lines="", contact=False)
    lab.node.directory.apply(
        f"account/{ADDRESS}", AccountDeleted(name="alice", domain="example.org")
    )
    lab.node.locations.account_changed(
        f"account/{ADDRESS}", AccountDeleted(name="alice", domain="example.org")
    )
    lab.log.slow = False
    lab.log.decide_all()
    lab.pump()
    lab.play("""
        alice < 403
        alice.2 < 403
    """)
    assert _contacts(lab) == []
    assert [event.reason for event in lab.log.of(BindingRemoved)] == ["admin"]
    assert _versions(lab) == [1, 2]


def test_registered_phone_rings_where_it_registered_from() -> None:
    """Behind NAT the flow of the REGISTER is the way, whatever the Contact says."""
    lab = _lab()
    lab.add("bob", "bob")
    phone = lab.phones["alice"]
    _register(lab, lines="Contact: <sip:alice@192.168.0.5:5060>\r\nExpires: 600\r\n", contact=False)
    lab.play("""
        alice < 200
        bob > INVITE alice b1
        alice.2 < INVITE b1 | Request-URI: sip:alice@192.168.0.5:5060
        alice.2 > 486
        alice.2 < ACK
        bob < 486
    """)
    assert lab.node.locations.registered_from(ADDRESS, phone.host)
    assert not lab.node.locations.registered_from(ADDRESS, "192.0.2.99")
    assert not lab.node.locations.registered_from("nobody@example.org", phone.host)


def test_path() -> None:
    """The edge proxy's Path is the route to the phone (RFC 3327)."""
    lab = _lab()
    lab.add("bob", "bob")
    edge = lab.add("edge")
    _register(
        lab,
        lines=f"Path: <sip:{edge.host};lr>\r\nSupported: path\r\nExpires: 600\r\n"
        "Contact: <sip:alice@10.9.9.9>\r\n",
        contact=False,
    )
    lab.play(f"""
        alice < 200 | Path: <sip:{edge.host};lr>
        bob > INVITE alice b1
        edge < INVITE b1 | Route: <sip:{edge.host};lr> | Request-URI: sip:alice@10.9.9.9
        edge > 486
        edge < ACK
        bob < 486
    """)


def test_many_refreshes_leave_nothing_behind() -> None:
    """The expiry heap is rebuilt before old entries outnumber the bindings."""
    lab = _lab()
    lab.node.start("1", 1, (), lab.now)
    location = lab.node.locations.location(ADDRESS)
    _register(lab)
    lab.play("alice < 200")
    (binding,) = location.bindings
    for number in range(1200):
        later = replace(binding, expires_ns=binding.expires_ns + number)
        lab.node.locations.set(ADDRESS, location, (later,))
    lab.advance(599)
    lab.advance(2)
    assert len(lab.node.locations._expiries) < 1100


@pytest.mark.parametrize("port", ["0", "65536", "00000"])
def test_contact_that_nothing_can_be_sent_to(port: str) -> None:
    """400 for REGISTER, INVITE and a target refresh alike; the call goes on where it was."""
    lab = Lab("alice bob")
    contact = f"Contact: <sip:alice@203.0.113.11:{port}>"
    _register(lab, lines=f"{contact}\r\n", contact=False)
    lab.play(f"""
        alice < 400
        alice.2 > INVITE bob a1
        bob < INVITE a1
        bob > 200 b1
        bob < ACK
        alice.2 < 200 b1
        alice.2 > ACK
        alice.2 > reINVITE a2 | {contact}
        alice.2 < 400
        alice.2 > ACK
        bob > BYE
        bob < 200 BYE
        alice.2 < BYE
        alice.2 > 200
    """)
    lab.end()
    assert not lab.log.of(BindingAdded)


def test_gruu_reaches_one_device() -> None:
    """RFC 5627 §5.1: of two phones of an account the named one rings; a gone one is 480."""
    lab = Lab("alice")
    for name in ("desk", "mobile"):
        lab.add(name, "bob", bind=False)
        phone = lab.phones[name]
        contact = f'Contact: <sip:{name}@{phone.host}>;+sip.instance="<urn:x:{name}>"'
        _register(lab, name, f"{contact}\r\nSupported: gruu\r\n", user="bob", contact=False)
        lab.play(f'{name} < 200 | pub-gruu="sip:bob@example.org;gr=urn:x:{name}"')
    lab.play("""
        alice > INVITE sip:bob@example.org;gr=urn:x:mobile a1
        mobile.2 < INVITE a1 | Request-URI: sip:mobile@203.0.113.13
        mobile.2 > 486
        mobile.2 < ACK
        alice < 486
        alice.2 > INVITE sip:bob@example.org;gr=urn:x:none a1
        alice.2 < 480
        alice.3 > INVITE sip:bob@example.org;gr a1
        alice.3 < 480
    """)


def test_phone_that_gives_its_gruu_as_contact() -> None:
    """Requests in the dialog go where it sends from: the GRUU itself leads to us."""
    lab = Lab("alice bob")
    gruu = "<sip:bob@example.org;gr=urn:x:1>"
    lab.play(f"""
        alice > INVITE bob a1 | Contact: <sip:alice@example.org;gr=urn:x:2>
        bob < INVITE a1
        bob > 200 b1 | Contact: {gruu}
        bob < ACK | Request-URI: sip:bob@example.org;gr=urn:x:1
        alice < 200 b1
        alice > ACK
        bob > BYE
        bob < 200 BYE
        alice < BYE
        alice > 200
    """)
    lab.end()


@pytest.mark.parametrize(("login", "status"), [("400", 200), ("401", 401), ("alice", 200)])
def test_a_phone_registers_as_its_extension(login: str, status: int) -> None:
    """An alias is a name to log in by, from the first password that was set after it."""
    lab = _lab()
    stream = f"account/{ADDRESS}"
    secrets = digest_secrets("alice", "example.org", "secret-alice", ["400"])
    for event in (
        AccountAliasesSet(aliases=("400",)),
        AccountPasswordSet(
            realm=secrets.realm,
            ha1_md5=secrets.ha1_md5,
            ha1_sha256=secrets.ha1_sha256,
            alias_ha1=secrets.alias_ha1,
        ),
        AccountAliasesSet(aliases=("400", "401")),
    ):
        lab.directory.apply(stream, event)
    lab.phones["alice"].account = login
    _register(lab, user=login)
    lab.play(f"alice < {status}")
    assert len(_contacts(lab)) == (status == 200)


def test_digests_of_aliases_that_cannot_be_read_are_none() -> None:
    """Erased, or sealed to this reader."""
    lab = _lab()
    event = AccountPasswordSet(realm="r", ha1_md5="m", ha1_sha256="s", alias_ha1="[sealed]")
    lab.directory.apply(f"account/{ADDRESS}", event)
    account = lab.directory.by_address(ADDRESS)
    assert account is not None
    assert account.secret("400", "MD5") == account.secret("400", "SHA-256") == ""
    assert account.secret("ALICE%example.org", "SHA-256") == "s"
