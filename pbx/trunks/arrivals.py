"""Calls that a provider sends to a contact that we registered with it.

Such a call is let in without credentials when it names the contact (nobody else knows it) and
comes from the registrar: from a host its name led to, or over the connection we registered by. It
then is a call from outside to the record's target: it may reach what anybody may reach, and leave
the server only where an account of ours sends it.

The caller's number is written as it is here, ``+74951234567`` in the account's domain, so that who
calls back from a list of calls dials it through the Router like any other.
"""

from __future__ import annotations

from urllib.parse import quote

from pbx.calls.ports import Arrival
from pbx.router.e164 import NumberingPlan
from pbx.trunks.records import RsipRecord
from sip.headers import NameAddr
from sip.login import DigestLogin
from sip.message import Request
from sip.uri import SipUri

_USER_SAFE = "-_.!~*'()&=+$,;?/"


def arrival(
    request: Request,
    record: RsipRecord,
    plan: NumberingPlan | None,
    source: str,
    login: DigestLogin | None = None,
) -> Arrival:
    """The INVITE as one to the record's target; `source` is the host it came from, `login` answers
    the provider inside the call."""
    local, _, domain = record.target.rpartition("@")
    target = f"sip:{quote(local, safe=_USER_SAFE)}@{domain}"
    caller, number = _caller(request, plan, record.key.account.rpartition("@")[2])
    headers = tuple(
        (name, str(caller) if name == "From" else value) for name, value in request.headers
    )
    changed = request.copy(uri=target, headers=headers)
    told = f", caller {number}" if number else ""
    reason = (
        f"record {record.key.name} of {record.key.account}: registered as"
        f" {record.address.partition(':')[2]}, from {source}{told}; for {record.target}"
    )
    return Arrival(changed, record.key.account, reason, login)


def _caller(request: Request, plan: NumberingPlan | None, domain: str) -> tuple[NameAddr, str]:
    """From, and what became of the number in it, in words."""
    from_ = request.from_
    uri = from_.uri
    if plan is None or not isinstance(uri, SipUri):
        return from_, ""
    written = uri.user_text
    number = plan.e164(written)
    if not number:
        return from_, ""
    told = number if number == written else f"{number} (written {written})"
    return NameAddr(f"sip:{number}@{domain}", from_.display, from_.params), told
