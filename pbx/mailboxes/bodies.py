"""The texts of messages: blobs, each encrypted with a key of its own.

The key is in the event that names the blob, sealed with the key of the account. Destroying that
makes every text of the account unreadable, in copies of the folder and of the log too; the same
text in mailboxes of other accounts stays readable to them. AES-256-GCM (NIST SP 800-38D): a key
encrypts one text, so the nonce may be a constant.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pbx.blobs import BlobStore
from pbx.eventlog import ERASED_TEXT, SEALED_TEXT
from pbx.kernel.errors import PbxError

KEY_BYTES: Final = 32
_NONCE: Final = bytes(12)
_FORM: Final = b"ringlog mail 1\n"
"""Begins every blob and is bound in: the construction can be changed one day."""


class BodyError(PbxError):
    """The text of a message cannot be read; the error says why."""


@dataclass(frozen=True, slots=True)
class StoredBody:
    """Where a text is, and what opens it."""

    sha256: str
    key: str = field(repr=False)


class Bodies:
    """Texts of messages in a blob store; `random` gives bytes for keys."""

    def __init__(self, blobs: BlobStore, random: Callable[[int], bytes]) -> None:
        self._blobs = blobs
        self._random = random

    def put(self, text: bytes) -> StoredBody:
        """Store; durable on return. Raises ``BlobError``."""
        key = self._random(KEY_BYTES)
        sealed = _FORM + AESGCM(key).encrypt(_NONCE, text, _FORM)
        return StoredBody(self._blobs.put(sealed), base64.b64encode(key).decode())

    def get(self, body: StoredBody) -> bytes:
        """The text. Raises ``BlobError``, or :class:`BodyError` without the key."""
        if body.key == ERASED_TEXT:
            raise BodyError("the text is erased: the key of its account was destroyed")
        if body.key == SEALED_TEXT:
            raise BodyError("the text is sealed, and the log was opened without keys")
        sealed = self._blobs.get(body.sha256)
        try:
            key = base64.b64decode(body.key, validate=True)
            if not sealed.startswith(_FORM):
                raise BodyError(f"the file {body.sha256} is no text of a message")
            return AESGCM(key).decrypt(_NONCE, sealed[len(_FORM) :], _FORM)
        except (InvalidTag, binascii.Error, ValueError) as error:
            raise BodyError(f"the file {body.sha256} does not fit its key") from error
