"""What operations cost: one step for each node of the tree, names and literals are free.

Used by :mod:`pbx.script.codegen` to let every block pay for itself.
"""

from __future__ import annotations

from pbx.script import nodes as n


def statement_steps(node: n.Statement) -> int:
    """What a statement costs by itself; blocks within it pay when they are entered."""
    match node:
        case n.Assign():
            return 1 + expression_steps(node.target) + expression_steps(node.value)
        case n.CallStatement():
            return expression_steps(node.call)
        case n.Var():
            return sum(1 + (expression_steps(one.value) if one.value else 0) for one in node.names)
        case n.If():
            return sum(1 + expression_steps(condition) for condition, _ in node.branches)
        case n.Loop():
            return 0 if node.start is None else statement_steps(node.start)
        case n.ExitIf():
            return 1 + expression_steps(node.condition)
        case n.Return():
            return 1 + (0 if node.value is None else expression_steps(node.value))
        case _:
            return 1


def expression_steps(node: n.Expression) -> int:
    """What evaluating an expression costs."""
    match node:
        case n.Constant() | n.Name():
            return 0
        case n.Key():
            return 1 + expression_steps(node.target)
        case n.ComputedKey():
            return 1 + expression_steps(node.target) + expression_steps(node.key)
        case n.Index():
            return 1 + expression_steps(node.target) + expression_steps(node.index)
        case n.Call():
            return 1 + sum(expression_steps(one) for one in node.arguments)
        case n.Spawn():
            return 1 + (0 if node.argument is None else expression_steps(node.argument))
        case n.Unary():
            return 1 + expression_steps(node.operand)
        case n.Binary() | n.Logical():
            return 1 + expression_steps(node.left) + expression_steps(node.right)
        case n.Conditional():
            return (
                1
                + expression_steps(node.condition)
                + max(expression_steps(node.yes), expression_steps(node.no))
            )
