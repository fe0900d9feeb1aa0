"""Our own credentials toward a server that challenges us (RFC 3261 §22, RFC 7616).

Made by whoever configures a trunk or a phone; given to `SipEngine.invite()` and `request()`,
which repeat a challenged request with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sip.digest import authorize, select_challenge

if TYPE_CHECKING:
    from sip.headers import Challenge
    from sip.message import Response


class DigestLogin:
    """A user name and password; `realm` restricts them to one realm, "" answers any."""

    __slots__ = ("_counts", "_password", "realm", "user")

    def __init__(self, user: str, password: str, realm: str = "") -> None:
        self.user = user
        self.realm = realm
        self._password = password
        self._counts: dict[str, int] = {}

    def authorize(
        self, response: Response, method: str, uri: str, body: bytes, cnonce: str
    ) -> list[tuple[str, str]]:
        """The header that answers a 401 or 407; [] when the challenge is not for us."""
        found = select_challenge(response)
        if found is None:
            return []
        header, challenge = found
        if self.realm and challenge.realm != self.realm:
            return []
        return [(header, self._answer(challenge, method, uri, cnonce))]

    def _answer(self, challenge: Challenge, method: str, uri: str, cnonce: str) -> str:
        # The count of a nonce must grow (RFC 7616 §3.4); a server rarely has two in use.
        nonce = challenge.nonce
        if nonce not in self._counts and len(self._counts) >= 8:
            self._counts.clear()
        count = self._counts[nonce] = self._counts.get(nonce, 0) + 1
        return authorize(challenge, method, uri, self.user, self._password, cnonce=cnonce, nc=count)

    def __repr__(self) -> str:
        return f"DigestLogin({self.user!r})"
