"""The messages of one planned call as a ladder, for the eyes of whoever repairs it."""

from __future__ import annotations

from collections.abc import Iterable

from tests.simulation.world import World
from tests.support.network import Sighting
from tests.support.scenario import Plan

_SHOWN = (b"CSeq", b"Reason", b"Refer-To", b"Subscription-State", b"RSeq", b"Session-Expires")


def ladder(world: World, plan: Plan) -> str:
    """Every message of the dialogs that phones had because of `plan`, and the log's story."""
    if world.network.trace is None:
        return "(no trace was kept)"
    call_ids = {call.call_id.encode() for call in plan.calls}
    hosts = {phone.host: phone.name for phone in world.phones.values()}
    hosts[world.server.address[0]] = "SERVER"
    lines = [f"{plan.label} ({plan.scenario}): {plan.caller} calls {plan.callee}"]
    if plan.excused:
        lines.append(f"excused: {plan.excused}")
    lines += [
        f"  {call.phone.name} {'answers' if call.uas else 'calls'} {call.call_id}: "
        f"ended {call.ended_at:.3f} {call.end_reason} {call.failure_status or ''}"
        for call in plan.calls
    ]
    lines += [
        _line(sighting, hosts)
        for sighting in world.network.trace
        if any(b"Call-ID: " + call_id + b"\r" in sighting.data for call_id in call_ids)
    ]
    lines += story(world, {call.call_id for call in plan.calls})
    return "\n".join(lines)


def _line(sighting: Sighting, hosts: dict[str, str]) -> str:
    source = hosts.get(sighting.source[0], sighting.source[0])
    destination = hosts.get(sighting.destination[0], sighting.destination[0])
    head, _, body = sighting.data.partition(b"\r\n\r\n")
    rows = head.split(b"\r\n")
    details = [row.decode("utf-8", "replace") for row in rows[1:] if row.split(b":")[0] in _SHOWN]
    if body.startswith(b"v=0"):
        text = body.decode("utf-8", "replace")
        direction = next((word for word in _DIRECTIONS if f"a={word}" in text), "sendrecv")
        version = text.partition("o=")[2].split(" ")[2] if "o=" in text else "?"
        details.append(f"SDP v{version} {direction}")
    elif body:
        details.append(body.split(b"\r\n")[0].decode("utf-8", "replace"))
    start = rows[0].decode("utf-8", "replace").replace(" SIP/2.0", "")
    fate = f"  ({sighting.fate})" if sighting.fate else ""
    return (
        f"{sighting.time:10.3f}  {source:>6} -> {destination:<6}  {start}  "
        f"[{'; '.join(details)}]{fate}"
    )


_DIRECTIONS = ("sendonly", "recvonly", "inactive")


def story(world: World, call_ids: Iterable[str]) -> list[str]:
    """What the log says about the calls with these SIP Call-IDs."""
    wanted = set(call_ids)
    streams: dict[str, None] = {}
    for record in world.log.read():
        if record.type in ("call.started.v1", "leg.created.v1"):
            if getattr(record.event, "sip_call_id", "") in wanted:
                streams[record.stream] = None
    lines: list[str] = []
    epoch = world.clock.wall_ns_at(0.0)
    for stream in streams:
        lines.append(stream)
        for record in world.log.read_stream(stream):
            moment = (record.time_ns - epoch) / 1e9
            lines.append(f"{moment:10.3f}  {record.type}  {record.data.decode()}")
    return lines
