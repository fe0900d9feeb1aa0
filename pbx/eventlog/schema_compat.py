"""What a change of the event types would break for those who consume them.

A consumer was told the shape of a type by its published schema. It may rely on every field it
knows to keep its name, its type and its presence; it must ignore fields it does not know.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

_WORDS: Final = frozenset(("description", "title", "examples", "x-durability", "$id", "$schema"))
"""What may change without changing the shape."""


def breaking_changes(
    published: Mapping[str, Mapping[str, Any]], current: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """A sentence for each promise that `current` breaks; schemas by type name."""
    problems: list[str] = []
    for name, old in published.items():
        new = current.get(name)
        if new is None:
            problems.append(
                f"{name} is gone: stored events of it must stay readable; keep the type, and have "
                "an upcaster lead to its successor"
            )
            continue
        problems += (f"{name}: {change}; {_advice(name)}" for change in _changes(old, new, ""))
    return problems


def additions(
    published: Mapping[str, Mapping[str, Any]], current: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """What `current` has and consumers were not told of."""
    found = [f"{name} is new" for name in current if name not in published]
    for name, old in published.items():
        fields = set(current.get(name, {}).get("properties", ())) - set(old["properties"])
        found += (f"{name}.{field} is new" for field in sorted(fields))
    return found


def _advice(name: str) -> str:
    noun, _, version = name.rpartition(".v")
    return (
        f"leave {name} as it is and declare {noun}.v{int(version) + 1} with an upcaster "
        "(docs/event-log.md, Declaring and changing an event type)"
    )


def _changes(old: Mapping[str, Any], new: Mapping[str, Any], path: str) -> Iterator[str]:
    old_fields: Mapping[str, Any] = old.get("properties", {})
    new_fields: Mapping[str, Any] = new.get("properties", {})
    for field in old_fields:
        if field not in new_fields:
            yield f"the field {path}{field} was removed or renamed"
        elif _shape(old_fields[field], old) != _shape(new_fields[field], new):
            yield (
                f"the field {path}{field} was {_shape(old_fields[field], old)} and is "
                f"{_shape(new_fields[field], new)}"
            )
    before, after = set(old.get("required", ())), set(new.get("required", ()))
    for field in sorted(after - before):
        # Stored events do not have it; whoever reads them must not fail.
        kind = "became required" if field in old_fields else "is new and has no default"
        yield f"the field {path}{field} {kind}"
    for field in sorted(before - after):
        if field in new_fields:
            yield f"the field {path}{field} was always there and may now be absent"
    if old.get("x-category") != new.get("x-category"):
        yield f"its category was {old.get('x-category')} and is {new.get('x-category')}"


def _shape(schema: Any, document: Mapping[str, Any], depth: int = 0) -> Any:
    """A schema without what is only said about it, references resolved."""
    if isinstance(schema, list):
        return [_shape(each, document, depth) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    target = schema.get("$ref")
    if isinstance(target, str) and depth < 8:  # deeper ones are compared by name
        name = target.rpartition("/")[2]
        return _shape(document.get("$defs", {}).get(name, name), document, depth + 1)
    return {
        name: _shape(value, document, depth) for name, value in schema.items() if name not in _WORDS
    }
