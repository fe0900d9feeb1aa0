"""Values as JSON, for events."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address

import msgspec
import pytest

from pbx.data import Era, IpAddress, Opaque, Value, XmlObject, from_json, to_json

VALUE: Value = {
    "text": "10G",
    "number": 10,
    "none": None,
    "array": ["a", {"b": "c"}],
    "data": b"\1\2",
    "time": datetime(2009, 10, 22, tzinfo=UTC),
    "era": Era.PAST,
    "ip": IpAddress(ip_address("10.0.0.1"), 25),
    "xml": XmlObject("<a/>"),
    "opaque": Opaque("call"),
    "looks tagged": {"$data": "not base64!"},
    "two": {"$data": "x", "$ip": "y"},
}


def test_everything_survives_json() -> None:
    assert from_json(msgspec.json.decode(msgspec.json.encode(to_json(VALUE)))) == VALUE


def test_what_json_knows_looks_like_itself() -> None:
    assert to_json({"MaxAccountSize": "10G", "list": ["a"]}) == {
        "MaxAccountSize": "10G",
        "list": ["a"],
    }


@pytest.mark.parametrize("raw", [True, 1.5, {"$nothing": "x"}, {"$data": 5}, object()])
def test_other_json_is_refused(raw: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_json(raw)
