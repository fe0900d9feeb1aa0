"""Where settings come from: a TOML file, over it the environment, over it the command line.

Feeds :class:`pbx.settings.Settings`. A raw tree ``{section: {key: TOML value}}`` is built first
and checked as a whole, so that one run names every mistake. An environment variable is
``RINGLOG_SECTION__KEY``; its text is read as a TOML value where it is one, else as it stands, and
a list may be written with commas.
"""

from __future__ import annotations

import difflib
import json
import math
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args, get_origin, get_type_hints

from pbx.kernel.errors import PbxError
from pbx.settings import Form, Key, Settings

PREFIX: Final = "RINGLOG_"
OTHER_VARIABLES: Final = frozenset({"RINGLOG_RELAY"})
"""Read elsewhere: which packet core ``media.native`` takes, for tests and benchmarks."""
_SCALARS: Final = (bool, int, float, str)

Raw = dict[str, dict[str, Any]]


class SettingsError(PbxError):
    """One or more settings are wrong; the text has a line for each."""


class KeyRow(NamedTuple):
    """One key as ``pbx settings`` shows it."""

    section: str
    name: str
    kind: type
    many: bool
    default: Any
    about: Key

    @property
    def words(self) -> str:
        """The accepted form in words."""
        if self.about.form is not None:
            one = self.about.form.words
        elif self.kind is bool:
            one = "true or false"
        elif self.kind is str:
            one = "a text in quotes"
        else:
            one = "a whole number" if self.kind is int else "a number"
            low, high = self.about.low, self.about.high
            if low is not None and high is not None:
                one += f" from {low:.10g} to {high:.10g}"
            elif low is not None:
                one += f" of at least {low:.10g}"
            if self.about.unit:
                one += f" ({self.about.unit})"
        return f"a list, each {one}" if self.many else one


def _rows() -> Iterator[KeyRow]:
    for section in fields(Settings):
        section_class = get_type_hints(Settings)[section.name]
        hints = get_type_hints(section_class)
        declared: tuple[Field[Any], ...] = fields(section_class)
        for item in declared:
            hint = hints[item.name]
            many = get_origin(hint) is tuple
            kind = get_args(hint)[0] if many else hint
            yield KeyRow(section.name, item.name, kind, many, item.default, item.metadata["key"])


KEYS: Final[dict[str, dict[str, KeyRow]]] = {}
"""Every key by section and name, in the order of declaration."""
for _row in _rows():
    KEYS.setdefault(_row.section, {})[_row.name] = _row


def load_settings(
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Raw | None = None,
) -> Settings:
    """Settings from all sources, later ones winning. Raises :class:`SettingsError`."""
    raw: Raw = {}
    problems: list[str] = []
    if file is not None:
        _merge(raw, _from_file(file, problems))
    if environment is not None:
        _merge(raw, _from_environment(environment, problems))
    _merge(raw, overrides or {})
    settings = _build(raw, problems)
    if problems:
        raise SettingsError("\n".join(problems))
    return settings


def settings_to_raw(settings: Settings) -> Raw:
    """The tree that loads to equal settings; plain JSON and TOML values only."""
    return {
        section: {name: _dump(getattr(getattr(settings, section), name)) for name in rows}
        for section, rows in KEYS.items()
    }


def _dump(value: Any) -> Any:
    if type(value) is tuple:
        return [_dump(item) for item in value]
    return value if type(value) in _SCALARS else str(value)


def _merge(into: Raw, tree: Mapping[str, Mapping[str, Any]]) -> None:
    for section, values in tree.items():
        into.setdefault(section, {}).update(values)


def _from_file(file: Path, problems: list[str]) -> Raw:
    try:
        tree = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(f"cannot read the settings file {file}: {error.strerror}")
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.append(f"{file} is not a TOML file: {error}")
        return {}
    sections: Raw = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            sections[name] = value
        else:
            problems.append(
                f"{name}: a key outside a section; write it below one of "
                + ", ".join(f"[{section}]" for section in KEYS)
            )
    return sections


def _from_environment(environment: Mapping[str, str], problems: list[str]) -> Raw:
    tree: Raw = {}
    known = [
        f"{PREFIX}{row.section}__{row.name}".upper()
        for rows in KEYS.values()
        for row in rows.values()
    ]
    for variable, text in sorted(environment.items()):
        if not variable.startswith(PREFIX) or variable in OTHER_VARIABLES:
            continue
        if variable not in known:
            problems.append(f"{variable}: no such setting{_nearest(variable, known)}")
            continue
        section, _, name = variable.removeprefix(PREFIX).lower().partition("__")
        row = KEYS[section][name]
        tree.setdefault(section, {})[name] = _value_of_text(text, row)
    return tree


def _value_of_text(text: str, row: KeyRow) -> Any:
    """The TOML value `text` stands for; a text where the key wants text, whatever it looks like."""
    if row.many and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    if not row.many and (row.kind is str or row.about.form is not None):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _build(raw: Raw, problems: list[str]) -> Settings:
    hints = get_type_hints(Settings)
    built: dict[str, Any] = {}
    for section, values in raw.items():
        if section not in KEYS:
            problems.append(f"[{section}]: no such section{_nearest(section, KEYS)}")
            continue
        good: dict[str, Any] = {}
        for name, value in values.items():
            row = KEYS[section].get(name)
            if row is None:
                problems.append(
                    f"{section}.{name}: no such setting{_nearest(name, KEYS[section], section)}"
                )
                continue
            try:
                good[name] = _parse(value, row)
            except ValueError:
                shown = "" if row.about.secret else f" = {_shown(value)}"
                problems.append(f"{section}.{name}{shown}: must be {row.words}")
        built[section] = hints[section](**good)
    settings = Settings(**built)
    problems.extend(_contradictions(settings))
    return settings


def _contradictions(settings: Settings) -> Iterator[str]:
    """Values that are each right and cannot stand together."""
    if settings.media.port_min >= settings.media.port_max:
        yield "media.port_min must be below media.port_max"
    if settings.sip.register_min_s > settings.sip.register_max_s:
        yield "sip.register_min_s must not be above sip.register_max_s"
    if settings.sip.min_se_s > settings.sip.session_expires_s:
        yield "sip.min_se_s must not be above sip.session_expires_s"
    if settings.webhooks.retry_first_s > settings.webhooks.retry_longest_s:
        yield "webhooks.retry_first_s must not be above webhooks.retry_longest_s"
    if not settings.sip.listen:
        yield "sip.listen is empty: a server needs a socket to take SIP at"


def _parse(value: Any, row: KeyRow) -> Any:
    if not row.many:
        return _parse_one(value, row)
    if not isinstance(value, list):
        raise ValueError(value)
    return tuple(_parse_one(item, row) for item in value)


def _parse_one(value: Any, row: KeyRow) -> Any:
    form: Form | None = row.about.form
    if form is not None:
        if not isinstance(value, str):
            raise ValueError(value)
        return form.parse(value)
    if row.kind is float and type(value) is int:
        value = float(value)
    if type(value) is not row.kind:  # `type`, since True is an int to isinstance
        raise ValueError(value)
    if isinstance(value, int | float) and not _in_range(float(value), row.about):
        raise ValueError(value)
    return value


def _in_range(number: float, about: Key) -> bool:
    if not math.isfinite(number):
        return False
    return (about.low is None or number >= about.low) and (
        about.high is None or number <= about.high
    )


def _nearest(name: str, known: Iterable[str], section: str = "") -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    if not close:
        return ""
    return f"; did you mean {section}.{close[0]}?" if section else f"; did you mean {close[0]}?"


def _shown(value: Any) -> str:
    """As it would stand in the file; what is no TOML value (from a test, a date) as Python's."""
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
