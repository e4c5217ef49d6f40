"""A loss around another one, which answers whatever the outer one does not define itself."""

from __future__ import annotations

from functools import wraps
from typing import Any

from nlpkit.losses.loss import Loss


class LossAround(Loss):
    """A loss with something beside another one: what labels and logits mean, and what is coupled, is the inner one's.

    Args:
        task: the inner one.

    Example:
        >>> from nlpkit.losses import DiceLoss
        >>> LossAround(DiceLoss()).scope
        'micro-batch'
    """

    def __init__(self, task: Loss) -> None:
        super().__init__()
        self.task = task


def _of_the_inner(name: str, own: Any) -> Any:
    if not callable(own):
        return property(lambda outer: getattr(outer.task, name))

    @wraps(own)
    def method(outer: LossAround, *args: Any, **kwargs: Any) -> Any:
        return getattr(outer.task, name)(*args, **kwargs)

    return method


# Whatever belongs to a loss, now or later: a wrapper that lists what it forwards forgets something one day. Only what
# is made of the rest stays: `forward` divides what `average` returns, and `restart` walks through all modules.
for _name, _own in vars(Loss).items():
    if not _name.startswith("__") and _name not in ("forward", "restart"):
        setattr(LossAround, _name, _of_the_inner(_name, _own))
