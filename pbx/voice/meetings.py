"""Meetings over restarts: written to the log when programs change them, read at the start."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from pbx.domain.accounts import AccountDeleted
from pbx.domain.meetings import MeetingRemoved, MeetingSet
from pbx.eventlog import ANY_VERSION, Meta, Record
from pbx.script.errors import ScriptError
from pbx.script.limits import Limits, Meter
from pbx.script.runtime.rendezvous import Meeting, Rendezvous
from pbx.script.textform import object_to_text, text_to_object
from pbx.script.values import Value, string_of, text_of

if TYPE_CHECKING:
    from pbx.calls.ports import LogPort

log = logging.getLogger("pbx.voice")

TYPES: Final = frozenset({"meeting.set.v1", "meeting.removed.v1", "account.deleted.v1"})
"""What is read at the start."""
MAX_PARAMETER_BYTES: Final = 65_536
"""Of a parameter that is kept; a larger one lives as long as the server runs."""


class Meetings:
    """See the module."""

    def __init__(self, rendezvous: Rendezvous, writer: LogPort, node: Callable[[], str]) -> None:
        """`node` names this node: what it has written itself is not folded again."""
        self._rendezvous = rendezvous
        self._writer = writer
        self._node = node
        self._written: dict[tuple[str, str, str], str] = {}
        rendezvous.on_change = self._changed

    def load(self, record: Record) -> None:
        """A record of the time before the start."""
        account = record.stream.removeprefix("account/")
        event = record.event
        match event:
            case MeetingSet():
                self._fold(account, event.meeting_set, event.key, event.parameter)
            case MeetingRemoved():
                self._drop(account, event.meeting_set, event.key)
            case AccountDeleted():
                self._rendezvous.meetings(account).clear()
                for place in [place for place in self._written if place[0] == account]:
                    del self._written[place]

    def apply(self, record: Record) -> None:
        """A record of now, which another node or a command may have written."""
        if record.node != self._node() or isinstance(record.event, AccountDeleted):
            self.load(record)

    def _fold(self, account: str, name: str, key: str, text: str) -> None:
        parameter: Value = None
        if text:
            parameter = text_to_object(Meter(Limits()), string_of(text))
            if parameter is None:
                return  # sealed with a key that is gone
        meetings = self._rendezvous.meetings(account)
        held = meetings.get((name, key))
        if held is None:
            meetings[name, key] = Meeting(parameter)
        else:
            held.parameter = parameter
        self._written[account, name, key] = text

    def _drop(self, account: str, name: str, key: str) -> None:
        self._rendezvous.meetings(account).pop((name, key), None)
        self._written.pop((account, name, key), None)

    def _changed(self, account: str, name: str, key: str, meeting: Meeting | None) -> None:
        """Write down what a program did; the task that is active is nobody's after a restart."""
        place = (account, name, key)
        meta = Meta(actor=f"program:{account}", tenant=account.partition("@")[2])
        stream = f"account/{account}"
        if not account:
            return
        if meeting is None:
            if self._written.pop(place, None) is not None:
                removed = MeetingRemoved(key=key, meeting_set=name)
                self._writer.observe(stream, ANY_VERSION, removed, meta)
            return
        try:
            text = ""
            if meeting.parameter is not None:
                text = text_of(object_to_text(Meter(Limits()), meeting.parameter))
        except ScriptError as error:
            log.warning("a meeting of %s is not kept: %s", account, error)
            return
        if len(text) > MAX_PARAMETER_BYTES:
            log.warning("a meeting of %s is not kept: its parameter is too long", account)
        elif self._written.get(place) != text:
            self._written[place] = text
            made = MeetingSet(key=key, parameter=text, meeting_set=name)
            self._writer.observe(stream, ANY_VERSION, made, meta)
