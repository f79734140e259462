"""The small language of `where`: a condition on one event, checked when it is written and executed as data.

    condition   a or b · a and b · not a · (a)
    predicate   = != < <= > >= · is null · is not null · in (1, 2) · not in ('a', 'b') · a column of truth values
    value       columns ("quoted" if need be) · 12 · 1.5 · 'text' · true · false · + - * /

Keywords in any case, columns in their own. What the operators mean:

- A null makes what it is part of null, as in SQL: `null and false` is false, `null or true` is true, and an event
  for which the condition is null does not meet it. NaN is null, in a column and as a result.
- Whole numbers are int64; a result beyond that is null. Beside a float, and in each division, they become float64.
  A division by zero is null.
- Comparing is exact, also of a whole number with a float: 9007199254740993 > 9007199254740992.0.
- Texts are ordered by code points. Truth values are equal or not.
"""

from mlops_kit.features.definition.expressions.condition import Condition, parse_condition

__all__ = ["Condition", "parse_condition"]
