"""Column types of the migrations on both databases; frozen like the migrations themselves.

Text is compared by code point everywhere, whatever language a PostgreSQL database was made for:
rows are merged and ranges searched by that order. Numbers have 64 bits on PostgreSQL, as SQLite's
have: a call of 25 days has more than 2^31 milliseconds.
"""

from __future__ import annotations

import sqlalchemy as sa

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
NUMBER = sa.Integer().with_variant(sa.BigInteger(), "postgresql")
