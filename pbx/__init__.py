"""Ringlog: the PBX that joins ``sip``, ``media`` and ``mail`` over one event log."""

from typing import Final

__version__: Final = "0.1.0"
