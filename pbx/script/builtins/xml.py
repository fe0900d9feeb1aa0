"""XML objects (CG/PL reference §9.8)."""

from __future__ import annotations

from typing import Final

from pbx.script.builtins.registry import metered, pure
from pbx.script.errors import ProgramException
from pbx.script.limits import Meter
from pbx.script.operators import describe
from pbx.script.values import Value, Xml, string_of, text_of

_ELEMENT_BYTES: Final = 160


def _xml(value: Value, function: str) -> Xml:
    if not isinstance(value, Xml):
        raise ProgramException(f"{function} needs an XML object, not {describe(value)}")
    return value


def _text(value: Value) -> str:
    return text_of(value) if isinstance(value, bytes) else ""


@metered("NewXML")
def new_xml(m: Meter, type_: Value, prefix: Value = None, namespace: Value = None) -> Value:
    """An element without content."""
    if not isinstance(type_, bytes) or not type_:
        return None
    m.allocate(_ELEMENT_BYTES)
    space = text_of(namespace) if isinstance(namespace, bytes) else None
    return Xml(text_of(type_), _text(prefix), space)


@metered("SetNamespace", procedure=True)
def set_namespace(m: Meter, element: Value, namespace: Value, prefix: Value = None) -> None:
    """Declare a namespace for a prefix; null removes it."""
    target = _xml(element, "SetNamespace")
    if isinstance(namespace, bytes):
        m.keep(namespace)
        target.namespaces[_text(prefix)] = text_of(namespace)
    else:
        target.namespaces.pop(_text(prefix), None)


@pure("GetNamespace")
def get_namespace(element: Value, prefix: Value = None) -> Value:
    """The namespace of a prefix, null if it is not declared here."""
    found = _xml(element, "GetNamespace").namespaces.get(_text(prefix))
    return None if found is None else string_of(found)


@pure("GetPrefix")
def get_prefix(element: Value, namespace: Value) -> Value:
    """The prefix that names a namespace, or null."""
    wanted = _text(namespace)
    for prefix, found in _xml(element, "GetPrefix").namespaces.items():
        if found == wanted:
            return string_of(prefix)
    return None


@metered("SetAttribute", procedure=True)
def set_attribute(
    m: Meter, element: Value, value: Value, name: Value, prefix: Value = None
) -> None:
    """Set an attribute: the value comes before the name; null removes it."""
    target = _xml(element, "SetAttribute")
    if not isinstance(name, bytes):
        raise ProgramException(f"SetAttribute needs a name, not {describe(name)}")
    key = (_text(prefix), text_of(name))
    if isinstance(value, bytes):
        m.keep(value)
        target.attributes[key] = text_of(value)
    elif isinstance(value, int):
        target.attributes[key] = str(value)
    elif value is None:
        target.attributes.pop(key, None)
    else:
        raise ProgramException(f"an attribute is a string, not {describe(value)}")


@pure("GetAttribute")
def get_attribute(element: Value, name: Value, prefix: Value = None) -> Value:
    """The value of an attribute; for a number the name and prefix of the n-th."""
    target = _xml(element, "GetAttribute")
    if isinstance(name, int):
        keys = list(target.attributes)
        if not 0 <= name < len(keys):
            return None
        space, key = keys[name]
        return [string_of(key), string_of(space)]
    if not isinstance(name, bytes):
        raise ProgramException(f"GetAttribute needs a name or number, not {describe(name)}")
    found = target.attributes.get((_text(prefix), text_of(name)))
    return None if found is None else string_of(found)


@metered("XMLBody")
def xml_body(
    m: Meter, element: Value, type_: Value, namespace: Value = None, index: Value = 0
) -> Value:
    """The n-th part of the content that has a type and a namespace; null means any."""
    target = _xml(element, "XMLBody")
    wanted = text_of(type_) if isinstance(type_, bytes) else None
    space = text_of(namespace) if isinstance(namespace, bytes) else None
    number = index if isinstance(index, int) else 0
    for child in target.children:
        m.charge(1)
        if isinstance(child, Xml):
            if wanted is not None and child.type != wanted:
                continue
            if space is not None and _space_of(child, target) != space:
                continue
        elif wanted is not None or space is not None:
            continue
        if number == 0:
            return child
        number -= 1
    return None


def _space_of(child: Xml, parent: Xml) -> str | None:
    found = child.namespaces.get(child.prefix)
    return parent.namespaces.get(child.prefix) if found is None else found


@pure("XMLType")
def xml_type(element: Value) -> Value:
    """The element's type, without prefix."""
    return string_of(_xml(element, "XMLType").type)


@pure("XMLPrefix")
def xml_prefix(element: Value) -> Value:
    """The element's prefix, "" for none."""
    return string_of(_xml(element, "XMLPrefix").prefix)
