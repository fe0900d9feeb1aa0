"""Signal Rules: values, stored form, checks, compilation, evaluation. Pure; kernel only.

=================  ===============================================================
``vocabulary``     names of conditions, operators, actions
``stages``         when a rule is looked at, and its packed number
``values``         a rule, its stored form and the checks of both
``addresses``      where actions send calls
``pictures``       ``*`` comparisons
``moments``        times, dates, days
``matching``       conditions as functions
``facts``          what a request is
``compiled``       merged levels, evaluation, trace
``rights``         who may store which actions
``simple``         simplified account rules
=================  ===============================================================

The loop of use: :func:`parse_rules` → :func:`compile_rules` (once per change) → :func:`merge` (once
per account) → :func:`evaluate` (per stage of a call).
"""

from pbx.rules.addresses import Target, parse_targets
from pbx.rules.compiled import (
    EMPTY,
    Decision,
    Entries,
    Entry,
    Looked,
    RuleSet,
    Tested,
    Verdict,
    compile_rules,
    evaluate,
    merge,
)
from pbx.rules.errors import RuleError
from pbx.rules.facts import Facts, Value, given
from pbx.rules.rights import Allowed, check_rights, parse_allowed
from pbx.rules.simple import Simple, replaced, simple_of, simple_rules
from pbx.rules.stages import BUSY, FAILURE, IMMEDIATE, NO_ANSWER, after_s
from pbx.rules.values import (
    Action,
    Condition,
    Rule,
    Rules,
    check_rules,
    parse_rule,
    parse_rules,
    rules_to_data,
    updated,
    without,
)
from pbx.rules.vocabulary import Level, Operator, Subject, Verb

__all__ = [
    "BUSY",
    "EMPTY",
    "FAILURE",
    "IMMEDIATE",
    "NO_ANSWER",
    "Action",
    "Allowed",
    "Condition",
    "Decision",
    "Entries",
    "Entry",
    "Facts",
    "Level",
    "Looked",
    "Operator",
    "Rule",
    "RuleError",
    "RuleSet",
    "Rules",
    "Simple",
    "Subject",
    "Target",
    "Tested",
    "Value",
    "Verb",
    "Verdict",
    "after_s",
    "check_rights",
    "check_rules",
    "compile_rules",
    "evaluate",
    "given",
    "merge",
    "parse_allowed",
    "parse_rule",
    "parse_rules",
    "parse_targets",
    "replaced",
    "rules_to_data",
    "simple_of",
    "simple_rules",
    "updated",
    "without",
]
