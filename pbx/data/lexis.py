"""The lexical patterns of the data format, shared by its readers.

Named as in the grammar of ``docs/cli.md``.
"""

from __future__ import annotations

import re
from typing import Final

WS: Final = re.compile(r"(?:[ \t\r\n]+|//[^\r\n]*|/\*.*?\*/)*", re.DOTALL)
"""Blanks, line ends and comments."""
BLANKS: Final = re.compile(r"[ \t]*")
"""What separates the words of a command line, which has no comments."""

ATOM: Final = re.compile(r"[A-Za-z0-9.\-_@\u0080-\U0010ffff][A-Za-z0-9.\-_@!#%:\u0080-\U0010ffff]*")
"""Readers also take ``! # % :`` behind the first character."""
LOOSE_ATOM: Final = re.compile(r"[^ \t\r\n\"(){}\[\]<>,;=#][^ \t\r\n\"(){}\[\],;=]*")
"""What a command line takes for a name: people type ``*``, ``~/Junk`` and addresses bare."""
BARE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.\-_@]*")
"""A string that is written without quotes."""

QUOTED: Final = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL)
ESCAPE: Final = re.compile(r"\\(?:([\\\"rnte])|([0-9]{3})|u'([0-9A-Fa-f]{1,8})'|)")
"""The last alternative is an escape that does not exist."""
ESCAPES: Final = {"\\": "\\", '"': '"', "r": "\r", "n": "\n", "t": "\t", "e": "\n"}
"""``\\e`` is one logical line end; in memory that is LF."""

DATABLOCK: Final = re.compile(r"\[([A-Za-z0-9+/=\s]*)\]")
NUMBER: Final = re.compile(r"#(-?)(?:0[xX]([0-9A-Fa-f]+)|0[oO]([0-7]+)|0[bB]([01]+)|([0-9]+))")
TIMESTAMP: Final = re.compile(
    r"#T(?:([0-9]{2})-([0-9]{2})-([0-9]{4})(?:_([0-9]{2}):([0-9]{2}):([0-9]{2}))?|(PAST|FUTURE))",
    re.ASCII,
)
ADDRESS: Final = re.compile(r"#I\[([0-9A-Fa-f:.]+)\](?::([0-9]{1,5}))?")
NULL: Final = re.compile(r"#NULL#", re.IGNORECASE)

XML_NAME: Final = re.compile(r"[A-Za-z_:\u0080-\U0010ffff][A-Za-z0-9_:.\-\u0080-\U0010ffff]*")
XML_TAG_REST: Final = re.compile(r"(?:[^<>\"'/]|\"[^\"<]*\"|'[^'<]*'|/(?!>))*(/?)>")
XML_COMMENT: Final = re.compile(r"<!--.*?-->", re.DOTALL)
XML_CDATA: Final = re.compile(r"<!\[CDATA\[.*?\]\]>", re.DOTALL)
