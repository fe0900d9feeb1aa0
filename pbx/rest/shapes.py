"""Bodies, queries and answers as structs: they check requests, and the OpenAPI document is theirs.

Requests refuse fields they do not know. Times are RFC 3339 in UTC, with milliseconds.
"""

from __future__ import annotations

import enum
from typing import Annotated, Any, Final, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from pbx.call_commands import MAX_REASON
from pbx.domain.accounts import MAX_ALIASES, MAX_DOMAIN_NAME, MAX_NAME, MAX_TELNUM
from pbx.domain.objects import GROUP_OPTIONS
from pbx.rules.stages import HIGHEST, LONGEST_S
from pbx.rules.values import MAX_NAME as MAX_RULE_NAME
from pbx.rules.values import MAX_PARAMETER, MAX_PARTS, MAX_RULES
from pbx.rules.vocabulary import Operator, Subject, Verb

PAGE: Final = 100
MAX_PAGE: Final = 1000
"""Objects of one page: some 300 KB."""
MAX_CURSOR: Final = 1024
MAX_TABLE: Final = 1_000_000
"""Characters of a Router table; one of ten thousand lines has half of it."""
MAX_MEMBERS: Final = 1000
MAX_KEYS: Final = 1000
MAX_RIGHTS: Final = 100
MAX_PASSWORD: Final = 256

Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
DomainName: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_DOMAIN_NAME)]
Address: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_NAME + MAX_DOMAIN_NAME + 1)]
Target: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=1024, description="Any address that the Router takes.")
]
Number: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_TELNUM)]
Text: TypeAlias = Annotated[str, Meta(max_length=255)]
Time: TypeAlias = Annotated[
    str, Meta(description="RFC 3339, UTC.", extra_json_schema={"format": "date-time"})
]
Names: TypeAlias = Annotated[list[Name], Meta(max_length=MAX_ALIASES)]
Numbers: TypeAlias = Annotated[list[Number], Meta(max_length=MAX_ALIASES)]
Members: TypeAlias = Annotated[list[Target], Meta(max_length=MAX_MEMBERS)]
Right: TypeAlias = Annotated[str, Meta(min_length=1, max_length=64, pattern="^[A-Za-z0-9-]+$")]
Rights: TypeAlias = Annotated[list[Right], Meta(max_length=MAX_RIGHTS)]
SettingValue: TypeAlias = Annotated[
    Any, Meta(extra_json_schema={"$ref": "#/components/schemas/SettingValue"})
]
Key: TypeAlias = Annotated[str, Meta(min_length=1, max_length=255)]
Settings: TypeAlias = dict[Key, SettingValue]
"""As the command protocol's dictionaries: texts, whole numbers, lists, dictionaries. Secret values
can be written and are never shown."""

GroupOption: TypeAlias = Annotated[str, Meta(extra_json_schema={"enum": list(GROUP_OPTIONS)})]
"""What a group can be told besides its members; the command refuses others."""
Options: TypeAlias = Annotated[list[GroupOption], Meta(max_length=len(GROUP_OPTIONS))]


class Body(Struct, forbid_unknown_fields=True, kw_only=True):
    """Of a request."""


class Query(Struct, forbid_unknown_fields=True, kw_only=True):
    """Parameters in the URL."""


class Shown(Struct, kw_only=True):
    """Of an answer."""


class Page(Query, kw_only=True):
    """Which part of a listing."""

    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE, description="Objects in the page.")] = PAGE
    cursor: Annotated[
        str, Meta(max_length=MAX_CURSOR, description="`next` of the page before.")
    ] = ""


class FilteredPage(Page, kw_only=True):
    """A listing by name."""

    filter: Annotated[
        str, Meta(max_length=MAX_NAME, description="A part of the names that are listed.")
    ] = ""


NextCursor: TypeAlias = Annotated[
    str | None, Meta(description="Hand it back as `cursor`; null on the last page.")
]


class Problem(Shown, kw_only=True):
    """Why not (RFC 9457)."""

    type: Annotated[str, Meta(description="urn:ringlog:problem:…, for programs.")]
    title: str
    status: int
    detail: Annotated[str, Meta(description="What exactly, and what to do next.")] = ""


# ---------------------------------------------------------------------------------------- domains


class Domain(Shown, kw_only=True):
    """A domain."""

    name: str
    aliases: list[str]
    settings: Settings


class DomainRow(Shown, kw_only=True):
    """A domain in the list."""

    name: str
    aliases: list[str]
    main: Annotated[bool, Meta(description="Addresses without a domain are of this one.")]
    accounts: int


class DomainPage(Shown, kw_only=True):
    items: list[DomainRow]
    next: NextCursor = None


class NewDomain(Body, kw_only=True):
    """A domain to be made."""

    name: DomainName
    aliases: Annotated[list[DomainName], Meta(max_length=MAX_ALIASES)] = []
    settings: Settings = {}


class DomainPatch(Body, kw_only=True):
    """What is to change; null takes away."""

    aliases: Annotated[list[DomainName], Meta(max_length=MAX_ALIASES)] | UnsetType | None = UNSET
    settings: Settings | UnsetType | None = UNSET


class DomainAliases(Body, kw_only=True):
    aliases: Annotated[list[DomainName], Meta(max_length=MAX_ALIASES)]


class DeleteDomain(Query, kw_only=True):
    force: Annotated[bool, Meta(description="Delete what is in it, too.")] = False


# --------------------------------------------------------------------------------------- accounts


class Account(Shown, kw_only=True):
    """An account. Its password is never shown."""

    address: str
    name: str
    domain: str
    real_name: str
    aliases: list[str]
    telnums: list[str]
    rights: list[str]
    has_password: bool
    settings: Settings


class AccountRow(Shown, kw_only=True):
    """An account in the list."""

    address: str
    name: str
    real_name: str
    aliases: list[str]
    telnums: list[str]


class AccountPage(Shown, kw_only=True):
    items: list[AccountRow]
    next: NextCursor = None


class NewAccount(Body, kw_only=True):
    """An account to be made. Without a password nobody can log in to it."""

    name: Name
    password: Annotated[
        str, Meta(min_length=1, max_length=MAX_PASSWORD, extra_json_schema={"writeOnly": True})
    ] = ""
    real_name: Text = ""
    aliases: Names = []
    telnums: Numbers = []
    settings: Settings = {}


class AccountPatch(Body, kw_only=True):
    """What is to change, all of it or nothing; null takes away."""

    real_name: Text | UnsetType | None = UNSET
    aliases: Names | UnsetType | None = UNSET
    telnums: Numbers | UnsetType | None = UNSET
    rights: Rights | UnsetType | None = UNSET
    settings: Settings | UnsetType | None = UNSET


class Aliases(Body, kw_only=True):
    aliases: Names


class Telnums(Body, kw_only=True):
    telnums: Annotated[Numbers, Meta(description="The first one is the main number.")]


class AccountRights(Body, kw_only=True):
    rights: Rights


class Password(Body, kw_only=True):
    password: Annotated[
        str, Meta(min_length=1, max_length=MAX_PASSWORD, extra_json_schema={"writeOnly": True})
    ]


# -------------------------------------------------------------------------- groups and forwarders


class Group(Shown, kw_only=True):
    """Names that ring together."""

    address: str
    name: str
    domain: str
    real_name: str
    members: list[str]
    options: list[str]


class GroupPage(Shown, kw_only=True):
    items: list[Group]
    next: NextCursor = None


class GroupBody(Body, kw_only=True):
    """A group as it is to be."""

    members: Members = []
    real_name: Text = ""
    options: Options = []


class NewGroup(GroupBody, kw_only=True):
    name: Name


class GroupPatch(Body, kw_only=True):
    """What is to change; null takes away."""

    members: Members | UnsetType | None = UNSET
    real_name: Text | UnsetType | None = UNSET
    options: Options | UnsetType | None = UNSET


class Forwarder(Shown, kw_only=True):
    """A name that stands for an address."""

    address: str
    name: str
    domain: str
    target: str


class ForwarderPage(Shown, kw_only=True):
    items: list[Forwarder]
    next: NextCursor = None


class ForwarderBody(Body, kw_only=True):
    target: Target


class NewForwarder(ForwarderBody, kw_only=True):
    name: Name


# ------------------------------------------------------------------------------------- the Router


class RouterTable(Shown, kw_only=True):
    """The server's Router table, as it was typed."""

    text: str


class RouterTableBody(Body, kw_only=True):
    text: Annotated[str, Meta(max_length=MAX_TABLE, description="The whole table.")]


class Kind(enum.Enum):
    """What an address is asked for."""

    SIGNAL = "signal"
    MAIL = "mail"
    ACCESS = "access"


class TraceBody(Body, kw_only=True):
    """What is to be routed."""

    address: Annotated[str, Meta(min_length=1, max_length=1024)]
    kind: Kind = Kind.SIGNAL
    by: Annotated[str, Meta(max_length=400, description="NAME@DOMAIN that calls.")] = ""
    at: Annotated[
        str,
        Meta(max_length=40, description="With the configuration of that time: RFC 3339."),
    ] = ""


class TraceMember(Shown, kw_only=True):
    address: str
    outcome: str


class Trace(Shown, kw_only=True):
    """What an address means, and why."""

    outcome: str
    module: str
    host: str
    port: int
    address: str
    account: str
    detail: str
    parameters: list[str] | None
    relay: bool
    status: Annotated[int, Meta(description="SIP status of a refusal; 0 for none.")]
    reason: str
    consult: bool
    steps: list[str]
    members: list[TraceMember]


# ------------------------------------------------------------------------------------------ rules


class Stage(enum.Enum):
    """When a rule is looked at."""

    ARRIVAL = "arrival"
    RINGING = "ringing"
    NO_ANSWER = "no-answer"
    BUSY = "busy"
    FAILURE = "failure"


RuleText: TypeAlias = Annotated[str, Meta(max_length=MAX_PARAMETER)]


class RuleCondition(Body, kw_only=True):
    subject: Subject
    operator: Operator
    value: RuleText


class RuleAction(Body, kw_only=True):
    action: Verb
    value: RuleText = ""


class SignalRule(Body, kw_only=True):
    """One rule. All conditions must hold."""

    name: Annotated[str, Meta(min_length=1, max_length=MAX_RULE_NAME)]
    actions: Annotated[list[RuleAction], Meta(min_length=1, max_length=MAX_PARTS)]
    conditions: Annotated[list[RuleCondition], Meta(max_length=MAX_PARTS)] = []
    stage: Stage = Stage.ARRIVAL
    after_s: Annotated[
        int, Meta(ge=0, le=LONGEST_S, description="Seconds of ringing, for the stage ringing.")
    ] = 0
    priority: Annotated[int, Meta(ge=0, le=HIGHEST, description="0: switched off.")] = 5
    comment: RuleText = ""


class SignalRules(Body, kw_only=True):
    """All rules of one level, highest first."""

    rules: Annotated[list[SignalRule], Meta(max_length=MAX_RULES)]


Seconds: TypeAlias = Annotated[int, Meta(ge=1, le=LONGEST_S)]
Targets: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=MAX_PARAMETER, description="Addresses, with commas between.")
]
Caller: TypeAlias = Annotated[str, Meta(min_length=1, max_length=255)]


class CallControl(Body, kw_only=True):
    """The simplified rules of an account; null: not set."""

    forward_always: Targets | None = None
    forward_busy: Targets | None = None
    forward_error: Targets | None = None
    forward_no_answer: Targets | None = None
    forward_after_s: Seconds | None = None
    ring_also: Targets | None = None
    ring_also_after_s: Annotated[int, Meta(ge=0, le=LONGEST_S)] = 0
    voicemail_after_s: Seconds | None = None
    voicemail_busy: bool = False
    voicemail_error: bool = False
    do_not_disturb: bool = False
    self_calls: bool = False
    blocked: Annotated[list[Caller], Meta(max_length=100)] = []


class CallControlPatch(Body, kw_only=True):
    """What is to change; null takes away."""

    forward_always: Targets | UnsetType | None = UNSET
    forward_busy: Targets | UnsetType | None = UNSET
    forward_error: Targets | UnsetType | None = UNSET
    forward_no_answer: Targets | UnsetType | None = UNSET
    forward_after_s: Seconds | UnsetType | None = UNSET
    ring_also: Targets | UnsetType | None = UNSET
    ring_also_after_s: Annotated[int, Meta(ge=0, le=LONGEST_S)] | UnsetType | None = UNSET
    voicemail_after_s: Seconds | UnsetType | None = UNSET
    voicemail_busy: bool | UnsetType | None = UNSET
    voicemail_error: bool | UnsetType | None = UNSET
    do_not_disturb: bool | UnsetType | None = UNSET
    self_calls: bool | UnsetType | None = UNSET
    blocked: Annotated[list[Caller], Meta(max_length=100)] | UnsetType | None = UNSET


# ------------------------------------------------------------------------------------------ calls


class Leg(Shown, kw_only=True):
    """One party of a call."""

    leg_id: str
    role: str
    state: str
    account: str
    target_uri: str
    started: Time | None
    answered: Time | None
    ended: Time | None
    codec: str


class LiveCall(Shown, kw_only=True):
    """A call that is up."""

    call_id: str
    domain: str
    node: str
    state: str
    from_uri: str
    from_display: str
    to_uri: str
    request_uri: str
    account: str
    source: str
    transport: str
    user_agent: str
    started: Time | None
    answered: Time | None
    legs: list[Leg]


class LiveCallPage(Shown, kw_only=True):
    items: list[LiveCall]
    next: NextCursor = None


class EndCall(Body, kw_only=True):
    """Why a call is ended."""

    reason: Annotated[str, Meta(max_length=MAX_REASON)] = ""


class CallEnding(Shown, kw_only=True):
    """The call is asked to end; the feeds tell when it has."""

    call_id: str
    node: str


class CdrFilter(Page, kw_only=True):
    """Which call records."""

    since: Annotated[str, Meta(max_length=40, description="Ended then or later: RFC 3339.")] = ""
    until: Annotated[str, Meta(max_length=40, description="Ended before: RFC 3339.")] = ""
    account: Annotated[
        str, Meta(max_length=400, description="Calls that NAME@DOMAIN made or took part in.")
    ] = ""
    domain: Annotated[str, Meta(max_length=MAX_DOMAIN_NAME)] = ""


class Cdr(Shown, kw_only=True):
    """The record of a call that ended."""

    call_id: str
    domain: str
    from_uri: str
    to_uri: str
    request_uri: str
    asserted_identity: str
    account: str
    answered_by: str
    source: str
    transport: str
    started: Time | None
    provisioned: Time | None
    answered: Time | None
    ended: Time | None
    talk_ms: int
    status: int
    cause: str
    q850: int
    ended_by: str
    reason: str
    recovered: bool
    legs: int


class CdrPage(Shown, kw_only=True):
    items: list[Cdr]
    next: NextCursor = None


class RegistrationFilter(Page, kw_only=True):
    account: Annotated[str, Meta(max_length=400, description="NAME@DOMAIN")] = ""
    domain: Annotated[str, Meta(max_length=MAX_DOMAIN_NAME)] = ""


class Registration(Shown, kw_only=True):
    """A phone that is registered."""

    account: str
    contact: str
    q: float
    expires: Time | None
    registered: Time | None
    refreshed: Time | None
    instance: str
    user_agent: str
    transport: str
    remote: str
    nat: bool


class RegistrationPage(Shown, kw_only=True):
    items: list[Registration]
    next: NextCursor = None


def given(value: object) -> bool:
    """Whether a field of a patch is there."""
    return value is not msgspec.UNSET
