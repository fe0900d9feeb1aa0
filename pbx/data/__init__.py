"""The data format of settings, commands and their results: text to values and back.

Pure: nothing here knows of commands, files or sockets. ``parse`` reads one object, ``words_of`` a
command line, :class:`ObjectStream` objects as their text arrives; ``write`` gives the canonical
one-line form, ``write_pretty`` the form for people; ``to_json`` and ``from_json`` carry values
through JSON without loss. ``docs/cli.md`` describes the format.
"""

from pbx.data.errors import DataError, DataLimit, DataSyntax, Place
from pbx.data.json_form import from_json, to_json
from pbx.data.reader import Word, parse, words_of
from pbx.data.stream import ObjectStream
from pbx.data.values import (
    DEFAULT_LIMITS,
    Era,
    IpAddress,
    Limits,
    Opaque,
    TimeStamp,
    Value,
    XmlObject,
)
from pbx.data.writer import write, write_pretty

__all__ = [
    "DEFAULT_LIMITS",
    "DataError",
    "DataLimit",
    "DataSyntax",
    "Era",
    "IpAddress",
    "Limits",
    "ObjectStream",
    "Opaque",
    "Place",
    "TimeStamp",
    "Value",
    "Word",
    "XmlObject",
    "from_json",
    "parse",
    "to_json",
    "words_of",
    "write",
    "write_pretty",
]
