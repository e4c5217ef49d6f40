"""The one exception of everything that reads arithmetic."""

from __future__ import annotations


class ExpressionError(ValueError):
    """A text is no arithmetic expression, or has no value within the limits.

    Example:
        >>> from nlpkit.tasks.math import evaluate
        >>> try:
        ...     evaluate("3+")
        ... except ExpressionError as error:
        ...     print(error)
        '3+': the expression ends where a number must follow
    """
