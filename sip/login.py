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
    """A user name and password; `realm` restricts them to one realm, "" answers any.

    With `pin` the first challenge decides who may ask: whoever asks later in another realm, or as
    server (401) where the first was a proxy (407), gets nothing. Requests inside a call go to an
    address that the other side chose; a party behind the provider must not get a digest of the
    provider's password by challenging our BYE.
    """

    __slots__ = ("_counts", "_password", "_pin", "_pinned", "asked_in", "realm", "user")

    def __init__(self, user: str, password: str, realm: str = "", *, pin: bool = False) -> None:
        self.user = user
        self.realm = realm
        self._password = password
        self._pin = pin
        self._pinned: tuple[str, str] | None = None
        self.asked_in = ""
        """The realm of the challenge that was answered last."""
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
        if self._pin:
            place = (header, challenge.realm)
            if self._pinned is None:
                self._pinned = place
            elif self._pinned != place:
                return []
        self.asked_in = challenge.realm
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
