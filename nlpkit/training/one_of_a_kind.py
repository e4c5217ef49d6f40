"""Techniques of which a Trainer can have but one."""

from __future__ import annotations

from collections.abc import Sequence

from nlpkit.training.technique import Technique


def refuse_another(technique: Technique, techniques: Sequence[Technique], kind: type[Technique], why: str) -> None:
    """Of two techniques that overwrite one thing, only the last one would act.

    Args:
        technique: that is prepared.
        techniques: of the Trainer, those that may act.
        kind: class of those that cannot be beside it.
        why: what there is one of.

    Raises:
        ValueError: there is another one.
    """
    for other in techniques:
        if isinstance(other, kind) and other is not technique:
            raise ValueError(f"{type(technique).__name__} beside {type(other).__name__}: {why}; leave one of them out")
