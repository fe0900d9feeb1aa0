"""Sealed fields: AES-256-GCM with one key per subject, kept outside the log.

Used by :class:`pbx.eventlog.registry.Codec`. Destroying a key is erasure: every value sealed with
it, in the log and in all its copies, becomes unreadable, while the rest of the events (and every
total) stays. NIST SP 800-38D: a nonce is random, 96 bits; a key seals far fewer than 2^32 values.

Two kinds of fields:

- *secret* (``SEALED``): always sealed, with the key of their stream, or of the account whose
  mailbox the stream is.
- *personal* (``PERSONAL``): sealed on request. Their subject is the account whose stream it is,
  or that the text names (``sip:al@example.org`` is ``account/al@example.org``), if that has a
  key, else ``server``: numbers of strangers cannot be erased one by one, but nobody without keys
  reads them. The value names the key by its id: ``p1.<key id>.<nonce and text>``.
"""

from __future__ import annotations

import base64
import binascii
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pbx.domain.calls import named_account
from pbx.eventlog.keystore import Key, KeyStore, MemoryStore
from pbx.eventlog.registry import ERASED_TEXT, PERSONAL_FORM

_FORM: Final = "v1."
"""Starts a sealed secret; names the construction, so that it can be changed one day."""
_NONCE_BYTES: Final = 12
_REMEMBERED: Final = 10_000
"""Keys and "has none" in memory, 1 KB each at worst: the accounts that are on the telephone."""
_SERVER: Final = "server"
_OWNED: Final = ("account/", "binding/", "mailbox/")
"""Streams of one account."""
_MAILBOX: Final = "mailbox/"
"""Their secrets are sealed with the key of the account: who forgets it forgets its mail."""


class Keys:
    """A sealer over a key store; remembers keys. Thread-safe.

    Whoever learns that a subject came or went calls :meth:`forget`; another process may have
    written the store.
    """

    __slots__ = ("_ciphers", "_lock", "_made", "_random", "_store", "_subjects")

    def __init__(self, store: KeyStore, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self._store = store
        self._random = random_bytes
        self._lock = threading.Lock()
        self._made: dict[str, AESGCM] = {}
        """Of the subjects that :meth:`make` was last called for."""
        self._subjects: OrderedDict[str, Key | None] = OrderedDict()
        """What the store said of a subject."""
        self._ciphers: OrderedDict[str, AESGCM | None] = OrderedDict()
        """By key id; None for a key that is gone."""

    @property
    def store(self) -> KeyStore:
        return self._store

    @property
    def remote(self) -> bool:
        """Whether to open something may take long."""
        return self._store.remote

    # Secrets.

    def seal(self, subject: str, type_name: str, field: str, text: str) -> str:
        """Encrypt; the value opens only as this field of this event type of this subject."""
        owner = key_subject(subject)
        cipher = self._made.get(owner)
        if cipher is None:
            cipher = AESGCM(self._store.get_or_create(owner).secret)
            self.forget(owner)
        return _FORM + self._encrypt(cipher, text, _bound_to(subject, type_name, field))

    def unseal(self, subject: str, type_name: str, field: str, sealed: str) -> str:
        """Decrypt; ``[erased]`` without a key. Raises ``ValueError`` if the value was altered.

        A subject that was erased and sealed something again has a new key, which cannot open the
        old values: they read as erased too.
        """
        if not sealed.startswith(_FORM):
            raise ValueError(f"{field} is not a sealed value")
        nonce, encrypted = _parts(sealed[len(_FORM) :], field)
        bound = _bound_to(subject, type_name, field)
        owner = key_subject(subject)
        for again in (True, False):
            key = self._known(owner)
            if key is None and not again:
                return ERASED_TEXT
            try:
                if key is not None:
                    return AESGCM(key.secret).decrypt(nonce, encrypted, bound).decode()
            except InvalidTag:
                pass
            # What is remembered may be of before another process wrote the store.
            self.forget(owner)
        if self._store.erased(owner):
            return ERASED_TEXT
        raise ValueError(f"{field} was altered or moved")

    # Personal values.

    def seal_personal(self, stream: str, type_name: str, field: str, text: str) -> str:
        """Encrypt with the key of whom `stream` or else `text` names, or of the server."""
        key = None
        owner = stream.split("/", 2)[1] if stream.startswith(_OWNED) else named_account(text)
        if owner:
            key = self._known(f"account/{owner}")
        if key is None:
            key = self._known(_SERVER) or self._store.get_or_create(_SERVER)
            self._remember(self._subjects, _SERVER, key)
        cipher = self._cipher(key.id) or AESGCM(key.secret)
        bound = _bound_to(key.id, type_name, field)
        return f"{PERSONAL_FORM}{key.id}.{self._encrypt(cipher, text, bound)}"

    def unseal_personal(self, type_name: str, field: str, value: str) -> str:
        """The inverse; text that is not sealed comes back as it is, ``[erased]`` without a key."""
        if not value.startswith(PERSONAL_FORM):
            return value
        key_id, point, rest = value[len(PERSONAL_FORM) :].partition(".")
        if not point:
            return value
        cipher = self._cipher(key_id)
        if cipher is None:
            return ERASED_TEXT
        try:
            nonce, encrypted = _parts(rest, field)
            return cipher.decrypt(nonce, encrypted, _bound_to(key_id, type_name, field)).decode()
        except (InvalidTag, ValueError):
            # Not ours: text from the wire may begin like a sealed value.
            return value

    def make(self, subjects: Sequence[str]) -> None:
        """Make the keys of many subjects in one transaction: one by one each waits for the disk."""
        made = self._store.create_all(subjects)
        with self._lock:
            self._made = {subject: AESGCM(key.secret) for subject, key in made.items()}

    def forget(self, subject: str) -> None:
        """The key of `subject` may have come, changed or gone: ask the store anew."""
        with self._lock:
            self._made.pop(subject, None)
            known = self._subjects.pop(subject, None)
            if known is not None:
                self._ciphers.pop(known.id, None)

    def erase(self, subject: str) -> bool:
        """Destroy the key of `subject`."""
        done = self._store.erase(subject)
        with self._lock:
            self._made.clear()
            self._subjects.clear()
            self._ciphers.clear()
        return done

    def _known(self, subject: str) -> Key | None:
        with self._lock:
            if subject in self._subjects:
                return self._subjects[subject]
        key = self._store.get(subject)
        self._remember(self._subjects, subject, key)
        return key

    def _cipher(self, key_id: str) -> AESGCM | None:
        with self._lock:
            if key_id in self._ciphers:
                return self._ciphers[key_id]
        key = self._store.by_id(key_id)
        cipher = None if key is None else AESGCM(key.secret)
        self._remember(self._ciphers, key_id, cipher)
        return cipher

    def _remember(self, table: OrderedDict[str, Any], name: str, value: object) -> None:
        with self._lock:
            table[name] = value
            if len(table) > _REMEMBERED:
                table.popitem(last=False)

    def _encrypt(self, cipher: AESGCM, text: str, bound: bytes) -> str:
        nonce = self._random(_NONCE_BYTES)
        sealed = cipher.encrypt(nonce, text.encode("utf-8", "replace"), bound)
        return base64.b64encode(nonce + sealed).decode("ascii")


def key_subject(stream: str) -> str:
    """Whose key seals the secrets of a stream: its own, of mailboxes the account's."""
    return f"account/{stream.split('/', 2)[1]}" if stream.startswith(_MAILBOX) else stream


def _parts(text: str, field: str) -> tuple[bytes, bytes]:
    """Nonce and what follows. Raises ``ValueError``."""
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"{field} is not a sealed value") from error
    if len(raw) <= _NONCE_BYTES:
        raise ValueError(f"{field} is not a sealed value")
    return raw[:_NONCE_BYTES], raw[_NONCE_BYTES:]


def _bound_to(subject: str, type_name: str, field: str) -> bytes:
    """Associated data: a sealed value cannot be moved to another subject, event or field."""
    return "\0".join((subject, type_name, field)).encode()


def memory_keys(random_bytes: Callable[[int], bytes] = os.urandom) -> Keys:
    """A sealer whose keys die with it; with a seeded `random_bytes` it is deterministic."""
    return Keys(MemoryStore(random_bytes), random_bytes)
