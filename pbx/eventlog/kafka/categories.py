"""Which categories are topics, and which streams a node decides on by itself."""

from __future__ import annotations

from typing import Final

from pbx.eventlog.registry import CATEGORY_OF_PREFIX, OTHER_CATEGORY

CONFIG: Final = "pbx.config"
LOG_CATEGORIES: Final = tuple(sorted({*CATEGORY_OF_PREFIX.values(), OTHER_CATEGORY}))
"""Each is a topic that nodes write and read."""

_OWNED: Final = ("call/", "node/", "cdr/")


def is_shared(stream: str) -> bool:
    """Whether nodes must agree on the next event of a stream.

    A call runs on one node, a node speaks for itself, and a call record is the same whoever makes
    it: decisions on these streams are the node's own, made in its file and shipped like facts. They
    need no Kafka, so that a server can close the calls of a former life while Kafka is away.
    """
    return not stream.startswith(_OWNED)
