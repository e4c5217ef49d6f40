"""The methods that can be asked for by name, on the command line and in recipes."""

from __future__ import annotations

from collections.abc import Mapping

from nlpkit.fewshot.grid.protocol import Method
from nlpkit.fewshot.methods import prompting
from nlpkit.fewshot.methods.baselines import majority
from nlpkit.fewshot.methods.linear import frozen_means, tf_idf

#: Name to method. A method of one's own needs no entry here: ``run_grid`` takes any function.
METHODS: Mapping[str, Method] = {
    "majority": majority,
    "tf-idf": tf_idf,
    "frozen-means": frozen_means,
    "zero-shot": prompting.zero_shot,
    "zero-shot-calibrated": prompting.zero_shot_calibrated,
    "zero-shot-masked-lm": prompting.zero_shot_masked_lm,
    "fine-tuning": prompting.fine_tuning,
    "pet": prompting.pet,
    "pet-mlm": prompting.pet_mlm,
    "pet-mlm-supervised": prompting.pet_mlm_supervised,
    "p-tuning": prompting.p_tuning,
    "adapet": prompting.adapet,
    "lm-bff": prompting.lm_bff,
    "efl": prompting.efl,
    "ipet": prompting.ipet,
}


def methods_named(names: list[str]) -> dict[str, Method]:
    """The methods of the given names.

    Raises:
        ValueError: a name is unknown; the message lists those there are.

    Example:
        >>> list(methods_named(["majority"]))
        ['majority']
    """
    if unknown := [name for name in names if name not in METHODS]:
        raise ValueError(f"unknown method {unknown[0]!r}; there are {', '.join(METHODS)}")
    return {name: METHODS[name] for name in names}
