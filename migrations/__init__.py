"""Alembic migrations of the read model. Event shapes never migrate: they have upcasters."""
