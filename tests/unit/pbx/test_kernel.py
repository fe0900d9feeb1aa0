"""Clock, ids, errors, event declarations."""

from __future__ import annotations

import pickle
import random
import time
import uuid
from typing import Annotated

import pytest

from pbx.kernel import events
from pbx.kernel.clock import Clock, SystemClock
from pbx.kernel.errors import Conflict, LogError, ProjectionStopped
from pbx.kernel.events import PERSONAL, SEALED, Durability, Event, event, upcaster
from pbx.kernel.ids import uuid7, uuid7_ms


def test_the_system_clock_reads_both_times() -> None:
    clock: Clock = SystemClock()
    assert clock.monotonic() <= clock.monotonic()
    assert abs(clock.wall_ns() - time.time_ns()) < 60_000_000_000


def test_uuid7_carries_version_variant_and_time() -> None:
    """RFC 9562 §5.7."""
    made = uuid7(1_700_000_000_123_456_789, random.Random(1))
    parsed = uuid.UUID(made)
    assert str(parsed) == made
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert uuid7_ms(made) == 1_700_000_000_123


def test_uuid7_sorts_by_time_and_repeats_by_seed() -> None:
    ids = [uuid7(ms * 1_000_000, random.Random(ms)) for ms in range(1000)]
    assert ids == sorted(ids)
    assert ids == [uuid7(ms * 1_000_000, random.Random(ms)) for ms in range(1000)]
    assert len(set(ids)) == 1000


@pytest.mark.parametrize("text", ["", "0190b2c1", str(uuid.UUID(int=4, version=4))])
def test_what_is_no_uuid7_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a UUID version 7"):
        uuid7_ms(text)


def test_a_conflict_survives_pickling_with_its_numbers() -> None:
    """Process pools and multiprocessing carry exceptions that way."""
    conflict = pickle.loads(pickle.dumps(Conflict("account/a", 3, 5)))
    assert (conflict.stream, conflict.expected_version, conflict.current_version) == (
        "account/a",
        3,
        5,
    )
    assert isinstance(conflict, LogError)


def test_a_stopped_projection_says_where_and_why() -> None:
    error = ProjectionStopped("cdrs", 7, "KeyError: 'x'")
    assert "cdrs stopped at position 7: KeyError: 'x'" in str(error)


@pytest.fixture
def clean_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Declarations of a test must not stay."""
    for name in ("EVENT_TYPES", "TYPE_OF", "UPCASTERS"):
        monkeypatch.setattr(events, name, dict(getattr(events, name)))


@pytest.mark.usefixtures("clean_registry")
def test_names_of_event_types_are_for_ever() -> None:
    declare = event("test.made.v1", category="pbx.calls", durability=Durability.OBSERVED)

    class Made(Event):
        number: int

    declare(Made)
    with pytest.raises(ValueError, match="declared twice"):
        declare(Made)


@pytest.mark.usefixtures("clean_registry")
def test_only_text_can_be_sealed() -> None:
    class Secret(Event):
        number: Annotated[int, SEALED]

    with pytest.raises(TypeError, match="only str fields"):
        event("test.secret.v1", category="pbx.calls", durability=Durability.DECIDED)(Secret)

    class Texts(Event):
        lines: Annotated[tuple[str, ...], SEALED]

    with pytest.raises(TypeError, match="only str fields"):
        event("test.texts.v1", category="pbx.calls", durability=Durability.DECIDED)(Texts)

    class Numbers(Event):
        numbers: Annotated[tuple[int, ...], PERSONAL]

    with pytest.raises(TypeError, match="only str fields"):
        event("test.numbers.v1", category="pbx.calls", durability=Durability.DECIDED)(Numbers)


@pytest.mark.usefixtures("clean_registry")
def test_upcasters_lead_to_the_next_version_once() -> None:
    upcaster("test.made.v1", target="test.made.v2")(lambda fields: fields)
    for source, target in (
        ("test.made.v1", "test.made.v2"),
        ("test.made.v2", "test.made.v4"),
        ("test.made.v2", "other.made.v3"),
    ):
        with pytest.raises(ValueError, match="no upcaster can lead"):
            upcaster(source, target=target)
