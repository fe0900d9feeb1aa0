"""Which transaction a message belongs to (RFC 3261 §17.1.3, §17.2.3).

Fed by the engine with parsed messages; gives the keys of the transaction tables, and the Via
lines that a response echoes.

Each message needs a branch, a sent-by and two tags. The usual spelling of these headers is taken
apart with a few string searches; anything unusual (quotes, white space, lists) goes through the
full parsers of `sip.headers`, so both ways give the same result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from sip.core import host_text
from sip.flow import Flow
from sip.headers import MAGIC_COOKIE, Via, parse_name_addr
from sip.message import Request, Response

if TYPE_CHECKING:
    from sip.transaction.client import ClientTransaction

ServerKey: TypeAlias = tuple[str, str, str]
"""(branch, sent-by, method); method INVITE also for its ACK and for finding what to cancel."""


class TopVia(NamedTuple):
    """What the top Via of a request says, and all Via lines of its responses."""

    branch: str
    """"" when it cannot identify a transaction (RFC 2543)."""
    sent_by: str
    echo: str


def top_via(request: Request, flow: Flow) -> TopVia:
    """Read the top Via; record where the request came from (§18.2.1, RFC 3581 §4).

    Raises MalformedHeader.
    """
    line = request.first("Via") or ""
    if line.startswith("SIP/2.0/") and "," not in line:
        head, _, parameters = line.partition(";")
        sent_by = head[head.find(" ") + 1 :]
        branch = _plain_branch(parameters)
        if branch and sent_by.isascii() and sent_by.lower() == sent_by and " " not in sent_by:
            host = host_text(flow.remote[0])
            if parameters.endswith(";rport"):
                line = f"{line}={flow.remote[1]};received={flow.remote[0]}"
                return TopVia(branch, sent_by, f"Via: {line}\r\n{_further(request)}")
            if "rport" not in parameters and sent_by.rpartition(":")[0] == host:
                return TopVia(branch, sent_by, f"Via: {line}\r\n{_further(request)}")
    via = request.via
    return TopVia(via.branch if via.is_rfc3261 else "", via.sent_by, _echo(request, via, flow))


def _further(request: Request) -> str:
    """The Via lines below the first one, as they came."""
    if not request.repeats:
        return ""
    return "".join([f"Via: {line}\r\n" for line in request.all("Via")[1:]])


def _plain_branch(parameters: str) -> str:
    """The branch, if nothing in the parameters needs a parser; else ""."""
    if '"' in parameters or " " in parameters or "received" in parameters:
        return ""
    at = parameters.find("branch=" + MAGIC_COOKIE)
    if at < 0 or (at and parameters[at - 1] != ";"):
        return ""
    branch = parameters[at + 7 :].partition(";")[0]
    return branch if len(branch) > len(MAGIC_COOKIE) else ""


def _echo(request: Request, via: Via, flow: Flow) -> str:
    """The Via lines of every response, the top one with what we saw."""
    top = str(via.with_source(flow.remote[0], flow.remote[1]))
    values = [top, *request.values("Via")[1:]]
    return "".join([f"Via: {value}\r\n" for value in values])


def server_key(request: Request, via: TopVia, method: str) -> ServerKey:
    """The key of the server transaction that `request` starts or repeats.

    A branch with the magic cookie is unique together with sent-by and method. Without it the
    peer follows RFC 2543, and Request-URI, From tag, Call-ID, CSeq number and the whole top Via
    take the place of the branch. The To tag stays out: an ACK carries the one of our response.
    Raises MalformedHeader.
    """
    if via.branch:
        return (via.branch, via.sent_by, method)
    identity = "\n".join(
        (
            request.uri,
            request.from_.tag,
            request.call_id,
            str(request.cseq.number),
            request.first("Via") or "",
        )
    )
    return (identity, via.sent_by, method)


def client_key(branch: str, method: str) -> str:
    """The key of a client transaction: branches are our own, only CANCEL shares one (§9.1)."""
    return branch + " CANCEL" if method == "CANCEL" else branch


def client_of(
    response: Response, clients: dict[str, ClientTransaction]
) -> ClientTransaction | None:
    """The transaction whose branch, CSeq, Via and Call-ID a response repeats (§17.1.3, §18.1.2).

    A response with another Via, or with more than one, was not meant for us. Raises
    MalformedHeader. The server adds received and rport behind our Via, so a prefix test decides
    nearly every time; a rewritten but equal one takes the slow way.
    """
    first = response.first
    line = first("Via") or ""
    transaction = clients.get(line[line.find(";branch=") + 8 :].partition(";")[0])
    if (
        transaction is None
        or transaction.cseq != first("CSeq")
        or not line.startswith(transaction.via[5:])
        or "," in line
        or response.repeats
    ):
        transaction = _client_by_parsing(response, clients)
        if transaction is None:
            return None
    if first("Call-ID") != transaction.request.call_id_line[9:-2]:
        return None
    tag_of(first("To") or "")  # asked for so that it raises here, not in a usage
    return transaction


def _client_by_parsing(
    response: Response, clients: dict[str, ClientTransaction]
) -> ClientTransaction | None:
    via = response.via
    number, method = response.cseq
    transaction = clients.get(client_key(via.branch, method))
    if transaction is None or transaction.cseq != f"{number} {method}" or len(response.vias) != 1:
        return None
    sent_by = transaction.via.partition(";")[0].rpartition(" ")[2]
    return transaction if via.sent_by.lower() == sent_by.lower() else None


def tag_of(value: str) -> str:
    """The tag of a From or To value, "" without one. Raises MalformedHeader.

    Tags are case-sensitive; the parameter's name is not.
    """
    right = value.rfind(">")
    if value.rfind('"') < right or '"' not in value:
        at = value.find(";tag=", right + 1)
        if at >= 0:
            tag = value[at + 5 :]
            if tag.isalnum():
                return tag
        elif "tag" not in value[right + 1 :].lower():
            return ""
    return parse_name_addr(value, "address").tag
