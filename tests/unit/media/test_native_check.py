"""One spelling for an address, and no change where none is needed."""

from __future__ import annotations

from media.native.check import normalised
from media.native.relay import StreamConfig


def test_addresses_get_their_one_spelling() -> None:
    config = StreamConfig(remote=("2001:DB8:0::1", 4000), signalling_host="FD00::0001")
    assert normalised(config, ("::1", 5)) == StreamConfig(
        remote=("2001:db8::1", 4000), signalling_host="fd00::1"
    )


def test_what_is_well_spelled_stays_the_same_object() -> None:
    config = StreamConfig(remote=("192.0.2.1", 4000), signalling_host="192.0.2.1")
    assert normalised(config, ("0.0.0.0", 5)) is config
