"""The syntax tree as program text in the C-like dialect.

Used to show what a program means to the parser, and by tests: parsing the printed text gives an
equal tree.
"""

from __future__ import annotations

from typing import Final

from pbx.script import nodes as n

_INDENT: Final = "  "
_LEVEL: Final = {"*": 5, "/": 5, "%": 5, "+": 4, "-": 4}
_COMPARE_LEVEL: Final = 3
_LOGICAL_LEVEL: Final = 2
_CONDITIONAL_LEVEL: Final = 1
_UNARY_LEVEL: Final = 6
_POSTFIX_LEVEL: Final = 7
_LOGICAL_WORDS: Final = {"and": "and", "or": "or", "xor": "xor", "&&": "&&", "||": "||"}


def print_program(program: n.Program) -> str:
    """The text of a whole tree."""
    lines: list[str] = []
    for item in program.items:
        match item:
            case n.TaskVariables():
                lines.append(f"var {', '.join(item.names)};")
            case n.Const():
                lines.append(_const(item))
            case n.Section():
                lines += _section(item)
    return "\n".join(lines) + "\n"


def _section(node: n.Section) -> list[str]:
    name = f"{node.module}::{node.name}" if node.module else node.name
    head = f"{node.kind} {name}"
    if node.kind != "entry":
        head += f"({', '.join(node.parameters)})"
    if node.linkage != "defined":
        return [f"{head} {node.linkage};"]
    return [f"{head} {{", *_block(node.body, 1), "}"]


def _block(body: list[n.Statement], depth: int) -> list[str]:
    return [line for statement in body for line in _statement(statement, depth)]


def _const(node: n.Const) -> str:
    parts = [f"{one.name} = {print_expression(one.value)}" for one in node.names if one.value]
    return f"const {', '.join(parts)};"


def _simple(node: n.Statement) -> str:
    match node:
        case n.Assign():
            sign = {"or": "|", "and": "&"}.get(node.sign or "", node.sign or "")
            return f"{print_expression(node.target)} {sign}= {print_expression(node.value)}"
        case n.CallStatement():
            return print_expression(node.call)
        case n.Var():
            parts = [
                one.name if one.value is None else f"{one.name} = {print_expression(one.value)}"
                for one in node.names
            ]
            return f"var {', '.join(parts)}"
        case _:
            raise AssertionError(node)


def _statement(node: n.Statement, depth: int) -> list[str]:
    pad = _INDENT * depth
    match node:
        case n.Const():
            return [pad + _const(node)]
        case n.If():
            lines: list[str] = []
            word = "if"
            for condition, body in node.branches:
                lead = f"{pad}{word}" if word == "if" else f"{pad}}} {word}"
                lines.append(f"{lead}({print_expression(condition)}) {{")
                lines += _block(body, depth + 1)
                word = "elif"
            if node.otherwise is not None:
                lines.append(f"{pad}}} else {{")
                lines += _block(node.otherwise, depth + 1)
            return [*lines, pad + "}"]
        case n.Loop():
            start = "" if node.start is None else _simple(node.start)
            test = "" if node.condition is None else " " + print_expression(node.condition)
            step = "" if node.step is None else " " + _simple(node.step)
            head = f"{pad}for({start};{test};{step}) {{"
            return [head, *_block(node.body, depth + 1), pad + "}"]
        case n.ExitIf():
            return [f"{pad}exitif {print_expression(node.condition)};"]
        case n.Return():
            value = "" if node.value is None else f" {print_expression(node.value)}"
            return [f"{pad}return{value};"]
        case n.Stop():
            return [pad + "stop;"]
        case n.Empty():
            return [pad + "null;"]
        case _:
            return [f"{pad}{_simple(node)};"]


def print_expression(node: n.Expression, level: int = 0) -> str:
    """The text of an expression, in parentheses when its operator binds less than `level`."""
    own, text = _expression(node)
    return f"({text})" if own < level else text


def _expression(node: n.Expression) -> tuple[int, str]:
    show = print_expression
    match node:
        case n.Constant():
            return _POSTFIX_LEVEL, _literal(node.value)
        case n.Name():
            return _POSTFIX_LEVEL, node.name
        case n.Key():
            return _POSTFIX_LEVEL, f"{_target(node.target)}.{node.key}"
        case n.ComputedKey():
            return _POSTFIX_LEVEL, f"{_target(node.target)}.({show(node.key)})"
        case n.Index():
            return _POSTFIX_LEVEL, f"{_target(node.target)}[{show(node.index)}]"
        case n.Call():
            arguments = [show(one) for one in node.arguments]
            name = f"{node.module}::{node.name}" if node.module else node.name
            if node.method:
                first = _target(node.arguments[0])
                return _POSTFIX_LEVEL, f"{first}.{name}({', '.join(arguments[1:])})"
            return _POSTFIX_LEVEL, f"{name}({', '.join(arguments)})"
        case n.Spawn():
            argument = "" if node.argument is None else f"({show(node.argument)})"
            return _POSTFIX_LEVEL, f"spawn {node.name}{argument}"
        case n.Unary():
            return _UNARY_LEVEL, f"{node.sign} {show(node.operand, _UNARY_LEVEL)}"
        case n.Binary():
            level = _LEVEL.get(node.sign, _COMPARE_LEVEL)
            sides = show(node.left, level), show(node.right, level + 1)
            return level, f"{sides[0]} {node.sign} {sides[1]}"
        case n.Logical():
            sides = show(node.left, _LOGICAL_LEVEL), show(node.right, _LOGICAL_LEVEL + 1)
            return _LOGICAL_LEVEL, f"{sides[0]} {_LOGICAL_WORDS[node.sign]} {sides[1]}"
        case n.Conditional():
            condition = show(node.condition, _LOGICAL_LEVEL)
            return _CONDITIONAL_LEVEL, f"{condition} ? {show(node.yes)} : {show(node.no)}"


def _target(node: n.Expression) -> str:
    if isinstance(node, n.Spawn | n.Constant):
        # `spawn e(x).f()` and `5.k` would be read otherwise.
        return f"({print_expression(node)})"
    return print_expression(node, _POSTFIX_LEVEL)


def _literal(value: bytes | int | None) -> str:
    if value is None:
        return "null"
    if isinstance(value, int):
        return str(value)
    parts: list[str] = []
    for byte in value:
        char = chr(byte)
        if char in '"\\':
            parts.append("\\" + char)
        elif 32 <= byte < 127:
            parts.append(char)
        else:
            parts.append(f"\\{byte:03}")
    return '"' + "".join(parts) + '"'
