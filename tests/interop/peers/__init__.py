"""Drivers of foreign programs that the interop tests talk to."""
