"""Who a request comes from: digest authentication of our accounts, trusted sources, strangers.

Every refusal looks the same for known and unknown names (RFC 3261 §22, no enumeration): a 401
with fresh challenges, after the same work. Source addresses and accounts that fail too often are
locked with decay (``guard.py``); a locked one is challenged without its answer being looked at,
so it learns nothing. A source from which the account is registered is not locked out of it.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, NamedTuple

from pbx.calls.directory import SecretPending
from pbx.calls.presentation import ANONYMOUS_HOST
from pbx.domain.nodes import AuthFailed, SourceBlocked
from sip import digest
from sip.digest import NonceVerdict
from sip.errors import RemoteProtocolError
from sip.uri import SipUri, parse_uri

if TYPE_CHECKING:
    from pbx.calls.directory import Account
    from pbx.calls.node import SignalNode
    from sip.dialog.invite import InviteUsage
    from sip.flow import Flow
    from sip.message import Request
    from sip.transaction.server import ServerTransaction

Headers = tuple[tuple[str, str], ...]

#: HA1 of nobody: unknown names cost the same work as known ones.
_NOBODY: Final = {"MD5": "0" * 32, "SHA-256": "0" * 64}
#: An account is locked after this many times the failures that lock a source: guessing from many
#: addresses is slowed, one careless neighbour is not enough.
_ACCOUNT_FACTOR: Final = 5
#: Trust decisions remembered, by source host.
_TRUST_CACHE: Final = 4096


class Identity(NamedTuple):
    """Outcome of a successful authentication."""

    account: str
    """``name@domain``; empty for a trusted source or an admitted stranger."""
    tenant: str


class _Verdict(NamedTuple):
    account: Account | None
    challenges: Headers = ()


class Authenticator:
    """See the module."""

    def __init__(self, node: SignalNode, nonce_secret: bytes) -> None:
        self._node = node
        self._nonces = digest.NonceBook(nonce_secret, node.config.nonce_life_s)
        self._trust: dict[str, bool] = {}

    def trusts(self, flow: Flow) -> bool:
        """Whether the source is in the list of trusted networks."""
        networks = self._node.config.client_ips
        if not networks:
            return False
        host = flow.remote[0]
        known = self._trust.get(host)
        if known is None:
            if len(self._trust) >= _TRUST_CACHE:
                self._trust.clear()
            address = ip_address(host.partition("%")[0])
            known = self._trust[host] = any(address in network for network in networks)
        return known

    def inviter(
        self, usage: InviteUsage, request: Request, flow: Flow, now: float
    ) -> Identity | None:
        """Identity of the sender of an INVITE; None when it was answered (401, 403)."""
        status, headers, identity = self._judge(request, flow, now)
        if identity is None:
            usage.reject(status, None, headers, now=now, once=True)
        return identity

    def caller(
        self, transaction: ServerTransaction, request: Request, flow: Flow, now: float
    ) -> Identity | None:
        """The same for a request without INVITE."""
        status, headers, identity = self._judge(request, flow, now)
        if identity is None:
            self._node.engine.respond(transaction, status, None, headers, now=now)
        return identity

    def subscriber(
        self, transaction: ServerTransaction, request: Request, flow: Flow, now: float
    ) -> str:
        """The account that proves itself in a SUBSCRIBE; empty: answered already.

        Trusted sources authenticate too: what they may watch depends on who they are.
        """
        realm = self._domain_of(request.from_.uri) or self._realm()
        account, challenges = self._verify(request, flow, realm, now)
        if account is not None and self._owns(account, request):
            return account.address
        status = 401 if account is None else 403
        self._node.engine.respond(transaction, status, None, challenges, now=now)
        return ""

    def registrant(
        self, request: Request, flow: Flow, now: float
    ) -> tuple[Account | None, Headers]:
        """The account that proves itself in a REGISTER, or the challenges for a 401.

        Registration is never anonymous: trusted sources authenticate too.
        """
        domain = self._domain_of(request.to.uri)
        verdict = self._verify(request, flow, domain or self._realm(), now)
        return verdict.account, verdict.challenges

    def _judge(
        self, request: Request, flow: Flow, now: float
    ) -> tuple[int, Headers, Identity | None]:
        node = self._node
        from_domain = self._domain_of(request.from_.uri)
        called_domain = self._domain_of(request.request_uri)
        realm = from_domain or called_domain or self._realm()
        if not request.has("Authorization") and not request.has("Proxy-Authorization"):
            if self.trusts(flow):
                return 0, (), Identity("", realm)
            if node.config.outside_calls and not from_domain and called_domain:
                return 0, (), Identity("", called_domain)
        verdict = self._verify(request, flow, realm, now)
        account = verdict.account
        if account is None:
            return 401, verdict.challenges, None
        if not self._owns(account, request):
            return 403, (), None
        return 0, (), Identity(account.address, account.domain)

    def challenges(self, request: Request, flow: Flow, now: float) -> Headers:
        """Challenges for a refusal with 401 that somebody else decided on."""
        realm = (
            self._domain_of(request.from_.uri)
            or self._domain_of(request.request_uri)
            or self._realm()
        )
        return self._challenge(realm, flow.remote[0], now)

    def _owns(self, account: Account, request: Request) -> bool:
        """From must name the authenticated account, or nobody (RFC 3323 anonymity)."""
        uri = request.from_.uri
        if not isinstance(uri, SipUri):
            return False
        if uri.host == ANONYMOUS_HOST:
            return True
        directory = self._node.directory
        domain = directory.local_domain(uri.host)
        # An alias is a name of the account like its own: phones register as their extension.
        named = directory.account(uri.user_text, domain) if domain else None
        return named is not None and named.address == account.address

    def _domain_of(self, uri: object) -> str:
        return self._node.directory.local_domain(uri.host) if isinstance(uri, SipUri) else ""

    def _realm(self) -> str:
        return self._node.directory.main_domain or "ringlog"

    def _verify(self, request: Request, flow: Flow, realm: str, now: float) -> _Verdict:
        node = self._node
        host = flow.remote[0]
        credentials = None
        for header in ("Authorization", "Proxy-Authorization"):
            if request.has(header):
                credentials = digest.credentials_for(request, realm, header)
                if credentials is not None:
                    break
        if credentials is None:
            uri = request.from_.uri
            if isinstance(uri, SipUri):
                node.directory.prepare(uri.user_text, self._domain_of(uri))
            return _Verdict(None, self._challenge(realm, host, now))
        account = node.directory.by_login(credentials.username, realm)
        guard = node.guard
        address = account.address if account is not None else f"{credentials.username}@{realm}"
        if guard.locked(host, now) or (
            guard.locked(address, now) and not node.locations.registered_from(address, host)
        ):
            return _Verdict(None, self._challenge(realm, host, now))
        algorithm = credentials.algorithm
        secret = ""
        if account is not None:
            secret = account.secret(credentials.username, algorithm)
            own = bool(secret) and digest.verify(credentials, request.method, secret)
            if not own and self._external(account):
                # One password of several is enough; this one is kept elsewhere.
                given = node.consult.secret(account.address, credentials.username, algorithm)
                if not given and node.consult.silent(account.address):
                    return _Verdict(None, self._challenge(realm, host, now))  # not its fault
                secret = given or secret
        elif node.directory.delays(address):
            raise SecretPending
        secret = secret or _NOBODY.get(algorithm, _NOBODY["MD5"])
        right = digest.verify(credentials, request.method, secret)
        if not right or account is None or not self._same_target(credentials, request):
            self._failed(address, host, request.method, "wrong", now)
            return _Verdict(None, self._challenge(realm, host, now))
        verdict = self._nonces.check(credentials.nonce, realm, host, credentials.nc, now)
        if verdict is not NonceVerdict.OK:
            stale = verdict is not NonceVerdict.UNKNOWN
            return _Verdict(None, self._challenge(realm, host, now, stale=stale))
        guard.succeeded(address)
        return _Verdict(account)

    def _external(self, account: Account) -> bool:
        """Whether an external program may have the password of an account."""
        settings = self._node.directory.settings
        return settings.value("UseExtPassword", account.address) is True

    def _same_target(self, credentials: digest.Credentials, request: Request) -> bool:
        """Whether the digest was made for this request (RFC 3261 §22.4 item 5).

        Deviation: any name of ours may stand for any other, and the user may be missing: SIPp
        puts ``sip:HOST:PORT`` there. Replay is kept out by the nonce count.
        """
        if digest.uri_matches(credentials, request):
            return True
        try:
            claimed = parse_uri(credentials.uri)
        except RemoteProtocolError:
            return False
        domain = self._domain_of(claimed)
        return bool(domain) and domain == self._domain_of(request.request_uri)

    def _challenge(self, realm: str, host: str, now: float, *, stale: bool = False) -> Headers:
        nonce = self._nonces.issue(realm, host, now)
        algorithms = self._node.config.digest_algorithms
        return digest.build_challenges(realm, nonce, algorithms, stale=stale)

    def _failed(self, address: str, host: str, method: str, verdict: str, now: float) -> None:
        node = self._node
        node.note(AuthFailed(account=address[:128], source=host, method=method, verdict=verdict))
        lock_s = int(node.config.lock_s)
        if node.guard.failed(host, now):
            node.note(SourceBlocked(source=host, reason="failed log-ins", seconds=lock_s))
        if node.guard.failed(address[:128], now, factor=_ACCOUNT_FACTOR):
            node.note(SourceBlocked(source=address[:128], reason="failed log-ins", seconds=lock_s))
