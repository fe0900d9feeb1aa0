"""The first tables: settings, bindings, calls, call records."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.types import NUMBER, TEXT

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("account", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("domain", TEXT, nullable=False),
        sa.Column("display_name", TEXT, nullable=False),
        sa.Column("calls_limit", NUMBER, nullable=False),
        sa.Column("max_contacts", NUMBER, nullable=False),
        sa.Column("has_password", sa.Boolean(), nullable=False),
        sa.Column("password_set_ns", sa.BigInteger(), nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_accounts")),
    )
    op.create_index(op.f("ix_accounts_domain"), "accounts", ["domain"], unique=False)

    op.create_table(
        "bindings",
        sa.Column("account", TEXT, nullable=False),
        sa.Column("contact_id", TEXT, nullable=False),
        sa.Column("contact", TEXT, nullable=False),
        sa.Column("expires_ns", sa.BigInteger(), nullable=False),
        sa.Column("q", sa.Float(), nullable=False),
        sa.Column("instance", TEXT, nullable=False),
        sa.Column("reg_id", NUMBER, nullable=False),
        sa.Column("path", TEXT, nullable=False),
        sa.Column("user_agent", TEXT, nullable=False),
        sa.Column("transport", TEXT, nullable=False),
        sa.Column("local", TEXT, nullable=False),
        sa.Column("remote", TEXT, nullable=False),
        sa.Column("nat", sa.Boolean(), nullable=False),
        sa.Column("contact_params", TEXT, nullable=False),
        sa.Column("methods", TEXT, nullable=False),
        sa.Column("sip_call_id", TEXT, nullable=False),
        sa.Column("cseq", sa.BigInteger(), nullable=False),
        sa.Column("since_ns", sa.BigInteger(), nullable=False),
        sa.Column("refreshed_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "contact_id", name=op.f("pk_bindings")),
    )
    op.create_table(
        "calls",
        sa.Column("call_id", TEXT, nullable=False),
        sa.Column("tenant", TEXT, nullable=False),
        sa.Column("node", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("from_uri", TEXT, nullable=False),
        sa.Column("from_display", TEXT, nullable=False),
        sa.Column("to_uri", TEXT, nullable=False),
        sa.Column("request_uri", TEXT, nullable=False),
        sa.Column("asserted_identity", TEXT, nullable=False),
        sa.Column("account", TEXT, nullable=False),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("transport", TEXT, nullable=False),
        sa.Column("user_agent", TEXT, nullable=False),
        sa.Column("start_ns", sa.BigInteger(), nullable=False),
        sa.Column("answer_ns", sa.BigInteger(), nullable=False),
        sa.Column("end_ns", sa.BigInteger(), nullable=False),
        sa.Column("talk_ms", NUMBER, nullable=False),
        sa.Column("status", NUMBER, nullable=False),
        sa.Column("cause", TEXT, nullable=False),
        sa.Column("q850", NUMBER, nullable=False),
        sa.Column("ended_by", TEXT, nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("recovered", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("call_id", name=op.f("pk_calls")),
    )
    op.create_index(
        "ix_calls_live",
        "calls",
        ["start_ns"],
        unique=False,
        sqlite_where=sa.text("end_ns = 0"),
        postgresql_where=sa.text("end_ns = 0"),
    )
    op.create_index(op.f("ix_calls_start_ns"), "calls", ["start_ns"], unique=False)

    op.create_table(
        "cdr_files",
        sa.Column("day", TEXT, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_cdr_files")),
    )
    op.create_table(
        "cdr_legs",
        sa.Column("call_id", TEXT, nullable=False),
        sa.Column("leg_id", TEXT, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("ordinal", NUMBER, nullable=False),
        sa.Column("day", TEXT, nullable=False),
        sa.Column("parent_leg_id", TEXT, nullable=False),
        sa.Column("role", TEXT, nullable=False),
        sa.Column("sip_call_id", TEXT, nullable=False),
        sa.Column("from_uri", TEXT, nullable=False),
        sa.Column("asserted_identity", TEXT, nullable=False),
        sa.Column("account", TEXT, nullable=False),
        sa.Column("request_uri", TEXT, nullable=False),
        sa.Column("target_uri", TEXT, nullable=False),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("transport", TEXT, nullable=False),
        sa.Column("start_ns", sa.BigInteger(), nullable=False),
        sa.Column("provision_ns", sa.BigInteger(), nullable=False),
        sa.Column("answer_ns", sa.BigInteger(), nullable=False),
        sa.Column("end_ns", sa.BigInteger(), nullable=False),
        sa.Column("talk_ms", NUMBER, nullable=False),
        sa.Column("status", NUMBER, nullable=False),
        sa.Column("cause", TEXT, nullable=False),
        sa.Column("q850", NUMBER, nullable=False),
        sa.Column("ended_by", TEXT, nullable=False),
        sa.Column("redirector", TEXT, nullable=False),
        sa.Column("application", TEXT, nullable=False),
        sa.Column("gateway", TEXT, nullable=False),
        sa.Column("billing_id", TEXT, nullable=False),
        sa.Column("proxied", sa.Boolean(), nullable=False),
        sa.Column("codec", TEXT, nullable=False),
        sa.Column("packets_in", sa.BigInteger(), nullable=False),
        sa.Column("packets_out", sa.BigInteger(), nullable=False),
        sa.Column("packets_lost", sa.BigInteger(), nullable=False),
        sa.Column("jitter_ms", sa.Float(), nullable=False),
        sa.Column("mos", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("call_id", "leg_id", name=op.f("pk_cdr_legs")),
    )
    op.create_index(
        op.f("ix_cdr_legs_day_position_ordinal"),
        "cdr_legs",
        ["day", "position", "ordinal"],
        unique=False,
    )
    op.create_index(
        op.f("ix_cdr_legs_position_ordinal"), "cdr_legs", ["position", "ordinal"], unique=False
    )

    op.create_table(
        "cdrs",
        sa.Column("call_id", TEXT, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("tenant", TEXT, nullable=False),
        sa.Column("from_uri", TEXT, nullable=False),
        sa.Column("to_uri", TEXT, nullable=False),
        sa.Column("request_uri", TEXT, nullable=False),
        sa.Column("asserted_identity", TEXT, nullable=False),
        sa.Column("account", TEXT, nullable=False),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("transport", TEXT, nullable=False),
        sa.Column("answered_by", TEXT, nullable=False),
        sa.Column("start_ns", sa.BigInteger(), nullable=False),
        sa.Column("provision_ns", sa.BigInteger(), nullable=False),
        sa.Column("answer_ns", sa.BigInteger(), nullable=False),
        sa.Column("end_ns", sa.BigInteger(), nullable=False),
        sa.Column("talk_ms", NUMBER, nullable=False),
        sa.Column("status", NUMBER, nullable=False),
        sa.Column("cause", TEXT, nullable=False),
        sa.Column("q850", NUMBER, nullable=False),
        sa.Column("ended_by", TEXT, nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("recovered", sa.Boolean(), nullable=False),
        sa.Column("legs", NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("call_id", name=op.f("pk_cdrs")),
    )
    op.create_index(op.f("ix_cdrs_end_ns"), "cdrs", ["end_ns"], unique=False)

    op.create_table(
        "domains",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("aliases", TEXT, nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_domains")),
    )
    op.create_table(
        "legs",
        sa.Column("call_id", TEXT, nullable=False),
        sa.Column("leg_id", TEXT, nullable=False),
        sa.Column("ordinal", NUMBER, nullable=False),
        sa.Column("parent_leg_id", TEXT, nullable=False),
        sa.Column("role", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("sip_call_id", TEXT, nullable=False),
        sa.Column("target_uri", TEXT, nullable=False),
        sa.Column("account", TEXT, nullable=False),
        sa.Column("destination", TEXT, nullable=False),
        sa.Column("redirector", TEXT, nullable=False),
        sa.Column("peer_leg_id", TEXT, nullable=False),
        sa.Column("moved_from", TEXT, nullable=False),
        sa.Column("moved_to", TEXT, nullable=False),
        sa.Column("start_ns", sa.BigInteger(), nullable=False),
        sa.Column("provision_ns", sa.BigInteger(), nullable=False),
        sa.Column("answer_ns", sa.BigInteger(), nullable=False),
        sa.Column("end_ns", sa.BigInteger(), nullable=False),
        sa.Column("talk_ms", NUMBER, nullable=False),
        sa.Column("status", NUMBER, nullable=False),
        sa.Column("cause", TEXT, nullable=False),
        sa.Column("q850", NUMBER, nullable=False),
        sa.Column("ended_by", TEXT, nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("codec", TEXT, nullable=False),
        sa.Column("packets_in", sa.BigInteger(), nullable=False),
        sa.Column("packets_out", sa.BigInteger(), nullable=False),
        sa.Column("packets_lost", sa.BigInteger(), nullable=False),
        sa.Column("jitter_ms", sa.Float(), nullable=False),
        sa.Column("mos", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("call_id", "leg_id", name=op.f("pk_legs")),
    )
    op.create_table(
        "projections",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("generation", NUMBER, nullable=False),
        sa.Column("error", TEXT, nullable=False),
        sa.Column("error_position", sa.BigInteger(), nullable=False),
        sa.Column("updated_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_projections")),
    )


def downgrade() -> None:
    op.drop_table("projections")
    op.drop_table("legs")
    op.drop_table("domains")
    op.drop_table("cdrs")
    op.drop_table("cdr_legs")
    op.drop_table("cdr_files")
    op.drop_table("calls")
    op.drop_table("bindings")
    op.drop_table("accounts")
