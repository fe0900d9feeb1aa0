"""Import of accounts from text files: ``pbx account import`` (Objects and settings reference
§6.1)."""

from pbx.imports.accounts import AccountImport, Outcome, Report
from pbx.imports.reader import Columns, Line, LineProblem, lines_of, parse_columns, parse_line

__all__ = [
    "AccountImport",
    "Columns",
    "Line",
    "LineProblem",
    "Outcome",
    "Report",
    "lines_of",
    "parse_columns",
    "parse_line",
]
