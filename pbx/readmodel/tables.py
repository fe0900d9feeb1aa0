"""The tables of the read model: what projections write, what listings and pages read.

Everything in them is derived from the log and may be deleted and rebuilt. Times are nanoseconds
of UTC as in the log (``*_ns``), durations milliseconds (``*_ms``); text is ``''`` and numbers 0
where there is nothing, so that equal histories give equal rows. Every change here needs a
migration in ``migrations/versions`` (a test compares the two).
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    text,
)

HEAD_REVISION: Final = "0013"
"""The migration these tables belong to; opening a read model compares before loading Alembic."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


_TEXT: Final = Text().with_variant(Text(collation="C"), "postgresql")
"""Compared by code point everywhere: rows are merged and ranges searched by that order."""
_NUMBER: Final = Integer().with_variant(BigInteger(), "postgresql")
"""64 bits everywhere: a call of 25 days has more than 2^31 milliseconds."""


def _text(name: str, *, key: bool = False) -> Column[str]:
    return Column(name, _TEXT, primary_key=key, nullable=False)


def _number(name: str) -> Column[int]:
    return Column(name, _NUMBER, nullable=False)


def _big(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False)


def _real(name: str) -> Column[float]:
    return Column(name, Float, nullable=False)


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False)


projections = Table(
    "projections",
    metadata,
    _text("name", key=True),
    _text("partition", key=True),  # of the log; '' where it has only one
    _big("position"),  # everything up to here is in the tables
    _number("generation"),  # raised by a rebuild: a running projector drops what it remembers
    _text("error"),  # why it stopped; empty while it runs
    _big("error_position"),
    _big("updated_ns"),
    _big("time_ns"),  # of the event at `position`: tells whether the log is still the same one
)

skipped_events = Table(
    "skipped_events",
    metadata,
    _text("projection", key=True),
    _text("partition", key=True),
    Column("position", BigInteger, primary_key=True, nullable=False),
    _text("error"),  # why it could not be applied
    _big("skipped_ns"),
)
"""Events that an operator let a projection step over, as the log's ``projection.skipped`` say;
rebuilds step over them, too."""

domains = Table(
    "domains",
    metadata,
    _text("name", key=True),
    _text("aliases"),  # separated by blanks
    _big("created_ns"),
)

accounts = Table(
    "accounts",
    metadata,
    _text("account", key=True),  # name@domain
    _text("name"),
    _text("domain"),
    _text("display_name"),
    _number("calls_limit"),
    _number("max_contacts"),
    _flag("has_password"),  # the secrets themselves stay sealed in the log
    _big("password_set_ns"),
    _big("created_ns"),
    Index(None, "domain"),
)

bindings = Table(
    "bindings",
    metadata,
    _text("account", key=True),
    _text("contact_id", key=True),
    _text("contact"),
    _big("expires_ns"),
    _real("q"),
    _text("instance"),
    _number("reg_id"),
    _text("path"),  # one URI a line
    _text("user_agent"),
    _text("transport"),
    _text("local"),
    _text("remote"),
    _flag("nat"),
    _text("contact_params"),
    _text("methods"),  # separated by blanks
    _text("sip_call_id"),
    _big("cseq"),
    _big("since_ns"),
    _big("refreshed_ns"),
    _big("version"),  # of its binding.added in the stream: the order of an account's bindings
)

binding_streams = Table(
    "binding_streams",
    metadata,
    _text("account", key=True),
    _big("version"),
)
"""The version each ``binding/…`` stream has, also of accounts that have no binding any more: with
the bindings it is all that the registrar knows (``pbx.signal.restore``)."""

calls = Table(
    "calls",
    metadata,
    _text("call_id", key=True),
    _text("tenant"),
    _text("node"),
    _text("state"),  # trying ringing answered ended
    _text("from_uri"),
    _text("from_display"),
    _text("to_uri"),
    _text("request_uri"),
    _text("asserted_identity"),
    _text("account"),
    _text("source"),
    _text("transport"),
    _text("user_agent"),
    _big("start_ns"),
    _big("answer_ns"),
    _big("end_ns"),  # 0 while the call lives
    _number("talk_ms"),
    _number("status"),
    _text("cause"),
    _number("q850"),
    _text("ended_by"),
    _text("reason"),
    _flag("recovered"),
    Index(None, "start_ns"),
    Index(
        "ix_calls_live",
        "start_ns",
        sqlite_where=text("end_ns = 0"),
        postgresql_where=text("end_ns = 0"),
    ),
)

legs = Table(
    "legs",
    metadata,
    _text("call_id", key=True),
    _text("leg_id", key=True),
    _number("ordinal"),  # order of appearance in the call
    _text("parent_leg_id"),
    _text("role"),
    _text("state"),  # trying ringing answered held ended moved
    _text("sip_call_id"),
    _text("target_uri"),
    _text("account"),
    _text("destination"),
    _text("redirector"),
    _text("peer_leg_id"),
    _text("moved_from"),
    _text("moved_to"),
    _big("start_ns"),
    _big("provision_ns"),
    _big("answer_ns"),
    _big("end_ns"),
    _number("talk_ms"),
    _number("status"),
    _text("cause"),
    _number("q850"),
    _text("ended_by"),
    _text("reason"),
    _text("codec"),
    _big("packets_in"),
    _big("packets_out"),
    _big("packets_lost"),
    _real("jitter_ms"),
    _real("mos"),
)

cdrs = Table(
    "cdrs",
    metadata,
    _text("call_id", key=True),
    _big("position"),  # of call.ended, within its partition
    _text("tenant"),
    _text("from_uri"),
    _text("to_uri"),
    _text("request_uri"),
    _text("asserted_identity"),
    _text("account"),
    _text("source"),
    _text("transport"),
    _text("answered_by"),  # target of the leg that took the call
    _big("start_ns"),
    _big("provision_ns"),
    _big("answer_ns"),
    _big("end_ns"),
    _number("talk_ms"),
    _number("status"),
    _text("cause"),
    _number("q850"),
    _text("ended_by"),
    _text("reason"),
    _flag("recovered"),
    _number("legs"),
    Column("partition", _TEXT, nullable=False, server_default=""),
    Index(None, "end_ns"),
    Index(None, "partition", "position"),
)

cdr_legs = Table(
    "cdr_legs",
    metadata,
    _text("call_id", key=True),
    _text("leg_id", key=True),
    _big("position"),  # of call.ended: with the ordinal the order of lines in the text files
    _number("ordinal"),
    _text("day"),  # UTC date of the end, the name of the text file
    _text("parent_leg_id"),
    _text("role"),
    _text("sip_call_id"),
    _text("from_uri"),
    _text("asserted_identity"),
    _text("account"),
    _text("request_uri"),
    _text("target_uri"),
    _text("source"),
    _text("transport"),
    _big("start_ns"),
    _big("provision_ns"),
    _big("answer_ns"),
    _big("end_ns"),
    _number("talk_ms"),
    _number("status"),
    _text("cause"),
    _number("q850"),
    _text("ended_by"),
    _text("redirector"),
    _text("application"),
    _text("gateway"),
    _text("billing_id"),
    _flag("proxied"),
    _text("codec"),
    _big("packets_in"),
    _big("packets_out"),
    _big("packets_lost"),
    _real("jitter_ms"),
    _real("mos"),
    Index(None, "position", "ordinal"),
    Index(None, "day", "position", "ordinal"),
)

cdr_files = Table(
    "cdr_files",
    metadata,
    _text("day", key=True),  # '' is the row of all: every line up to its position is written
    _big("position"),
    _big("size_bytes"),  # what of the file is known to be right
)
"""How far the text files of call records are written (:mod:`pbx.readmodel.cdr_files`)."""

cdr_feed = Table(
    "cdr_feed",
    metadata,
    _text("partition", key=True),
    Column("position", BigInteger, nullable=False),  # of call.ended: up to here all are published
)
"""How far new call records are published as events (:mod:`pbx.readmodel.cdr_feed`)."""

cdr_changed = Table(
    "cdr_changed",
    metadata,
    _text("call_id", key=True),
    _text("partition"),
    _big("changed_ns"),
)
"""Call records that were changed and are to be published once more."""

webhook_progress = Table(
    "webhook_progress",
    metadata,
    _text("webhook_id", key=True),
    _text("node"),  # that delivered last
    _text("after"),  # token behind the last event that was delivered, or looked at and not wanted
    _big("replays"),
    _big("resumes"),
    _big("delivered"),
    _big("delivered_ns"),
    _big("failures"),
    _big("failing_since_ns"),
    _big("next_try_ns"),
    _text("error"),
)
"""How far webhooks got that nodes share out (:mod:`pbx.readmodel.webhook_rows`). The one table that
is not derived: no event says what a receiver took. Without it they begin where they were made."""

mailboxes = Table(
    "mailboxes",
    metadata,
    _text("account", key=True),  # name@domain
    Column("number", _NUMBER, primary_key=True, nullable=False),  # of its stream
    _text("name"),
    _text("mailbox_class"),
    _flag("folder"),  # only a place for mailboxes below it
    _big("uid_validity"),
    _text("access"),  # one entry a line: whom, TAB, rights
    _big("created_ns"),
)

messages = Table(
    "messages",
    metadata,
    _text("account", key=True),
    Column("number", _NUMBER, primary_key=True, nullable=False),  # of the mailbox
    Column("uid", _NUMBER, primary_key=True, nullable=False),
    _big("modseq"),  # of its last change of flags: the version in the stream
    _text("flags"),  # separated by commas
    _big("size_bytes"),
    _big("received_ns"),
    _text("sender"),
    _text("subject"),
    _text("content_class"),
    _flag("urgent"),
    _number("original_uid"),
    _text("sha256"),  # of the encrypted text; what opens it is not here
    _text("source"),
    _big("stored_ns"),
)
"""Messages in mailboxes. (Those of SIP are events only.)"""

ivr_tasks = Table(
    "ivr_tasks",
    metadata,
    _text("task_id", key=True),
    _text("tenant"),
    _text("node"),
    _text("program"),
    _text("account"),  # whose name it ran under
    _text("cause"),  # call spawn command
    _text("call_id"),
    _text("parent"),  # the task that spawned it
    _text("language"),
    _big("start_ns"),
    _flag("answered"),
    _number("answer_ms"),  # start to answer
    _flag("forwarded"),  # transferred, or joined with another task
    _big("end_ns"),  # 0 while it runs
    _number("in_program_ms"),  # start to end
    _text("reason"),  # return stop exception killed interrupted
    _text("ended_by"),  # caller program server
    _text("last_menu"),
    _number("choices"),
    _text("path"),  # menu=choice, separated by blanks; ? for what is not told
    _text("failure"),
    _text("failure_file"),
    _number("failure_line"),
    Index(None, "start_ns"),
    Index(None, "call_id"),
    Index(
        "ix_ivr_tasks_open",
        "node",
        sqlite_where=text("end_ns = 0"),
        postgresql_where=text("end_ns = 0"),
    ),
)
"""Each run of a program (:mod:`pbx.readmodel.projections.ivr`)."""

ivr_inputs = Table(
    "ivr_inputs",
    metadata,
    _text("task_id", key=True),
    Column("version", BigInteger, primary_key=True, nullable=False),  # in the stream of the task
    _text("menu"),
    _text("choice"),  # empty: not told
    _number("digits"),
    _text("source"),  # file:line
    _number("at_ms"),  # since the start of the task
)
"""What callers pressed, as far as it is told (:mod:`pbx.voice.choices`)."""
