"""What lives in memory, for tests that nothing is left behind."""

from __future__ import annotations

import gc
from collections import Counter


def living(*packages: str) -> Counter[str]:
    """Objects of the classes of these packages that are still there, by class."""
    kinds = Counter(type(thing) for thing in gc.get_objects())
    return Counter(
        {
            kind.__name__: count
            for kind, count in kinds.items()
            if str(kind.__module__).startswith(packages)
        }
    )
