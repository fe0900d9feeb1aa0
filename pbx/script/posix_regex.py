"""POSIX extended regular expressions (IEEE 1003.1 §9.4) in the dialect of Python's ``re``.

Matching by backtracking may take exponential time for a hostile pattern, and it cannot be
interrupted: repeats of groups that repeat something themselves (``(a+)+``) are refused, which is
how all known explosions begin, and subjects are short (:mod:`pbx.script.builtins.strings`).
"""

from __future__ import annotations

import re
from typing import Final

MAX_PATTERN_BYTES: Final = 1024
MAX_REPEATS: Final = 8
"""Unbounded repeats in one expression: each multiplies the worst case by the subject's length."""
_CLASSES: Final = {
    b"alpha": rb"A-Za-z",
    b"digit": rb"0-9",
    b"alnum": rb"A-Za-z0-9",
    b"upper": rb"A-Z",
    b"lower": rb"a-z",
    b"space": rb" \t\r\n\f\v",
    b"blank": rb" \t",
    b"punct": rb"!-/:-@\[-`{-~",
    b"print": rb"\x20-\x7e",
    b"graph": rb"\x21-\x7e",
    b"cntrl": rb"\x00-\x1f\x7f",
    b"xdigit": rb"0-9A-Fa-f",
}
_BOUND: Final = re.compile(rb"\{([0-9]{1,3})(,([0-9]{0,3}))?\}")


class BadExpression(Exception):
    """The text is no expression, or one that is refused."""


def translate(picture: bytes) -> bytes:
    """The same expression for ``re.compile``. Raises ``BadExpression``."""
    if len(picture) > MAX_PATTERN_BYTES:
        raise BadExpression("too long")
    out: list[bytes] = []
    groups: list[bool] = []
    """For each open group, whether something in it repeats without bound."""
    closed_repeats = False
    atom = False
    repeats = 0
    at = 0
    while at < len(picture):
        char = picture[at : at + 1]
        was_group = out and out[-1] == b")" and atom
        if char in b"*+?" or (char == b"{" and _BOUND.match(picture, at)):
            if not atom:
                raise BadExpression("nothing to repeat")
            bound = _BOUND.match(picture, at) if char == b"{" else None
            text = bound.group() if bound else char
            unbounded = char in b"*+" or bool(bound and bound.group(2) and not bound.group(3))
            many = unbounded or bool(bound and int(bound.group(3) or bound.group(1)) > 1)
            if was_group and closed_repeats and many:
                raise BadExpression("a repeated group repeats something itself")
            if unbounded or many:
                repeats += 1
                if repeats > MAX_REPEATS:
                    raise BadExpression("too many repeats")
                if groups:
                    groups[-1] = True
            out.append(text)
            at += len(text)
            atom = False
            continue
        at += 1
        if char == b"(":
            out.append(b"(")
            groups.append(False)
            atom = False
        elif char == b")":
            if not groups:
                raise BadExpression("unbalanced )")
            closed_repeats = groups.pop()
            if groups and closed_repeats:
                groups[-1] = True
            out.append(b")")
            atom = True
        elif char == b"[":
            piece, at = _bracket(picture, at)
            out.append(piece)
            atom = True
        elif char == b"\\":
            if at >= len(picture):
                raise BadExpression("ends in a backslash")
            out.append(re.escape(picture[at : at + 1]))
            at += 1
            atom = True
        elif char == b"|":
            # Alternatives within a repeated group explode as repeats do.
            if groups:
                groups[-1] = True
            out.append(char)
            atom = False
        elif char in b"^$":
            out.append(b"(?:^)" if char == b"^" else b"(?:\\Z)")
            atom = False
        elif char == b".":
            out.append(char)
            atom = True
        else:
            out.append(re.escape(char))
            atom = True
    if groups:
        raise BadExpression("unbalanced (")
    return b"".join(out)


def _bracket(picture: bytes, at: int) -> tuple[bytes, int]:
    out = [b"["]
    if picture[at : at + 1] == b"^":
        out.append(b"^")
        at += 1
    first = True
    while True:
        char = picture[at : at + 1]
        if not char:
            raise BadExpression("unbalanced [")
        if char == b"]" and not first:
            out.append(b"]")
            return b"".join(out), at + 1
        first = False
        if picture.startswith(b"[:", at):
            end = picture.find(b":]", at)
            name = picture[at + 2 : end] if end > 0 else b""
            if name not in _CLASSES:
                raise BadExpression("unknown class")
            out.append(_CLASSES[name])
            at = end + 2
            continue
        if char == b"-":
            out.append(b"-" if picture[at + 1 : at + 2] != b"]" and len(out) > 1 else b"\\-")
        else:
            out.append(re.escape(char))
        at += 1
