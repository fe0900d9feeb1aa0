"""Alembic migrations of the read model (never of the log: its events are upcast)."""
