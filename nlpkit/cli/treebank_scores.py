"""Scoring ``nlpkit parse`` on a treebank, beside the baselines that need no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nlpkit.perturbed_masking.perturbed_masking import PerturbedMasking
    from nlpkit.perturbed_masking.treebanks.evaluation import Report


@dataclass(frozen=True)
class Terms:
    """How a treebank is scored.

    Args:
        punctuation: ``"counted"``, ``"unscored"`` or ``"removed"``.
        max_words: longer sentences are left out.
        gold_root: parsers are told the root.
        faithful: baselines as published.
    """

    punctuation: str = "counted"
    max_words: int | None = None
    gold_root: bool = False
    faithful: bool = False

    def admit(self, words: int) -> bool:
        """Whether a sentence of this many words is scored."""
        return 0 < words <= (self.max_words or words)


def check_evaluation(dependencies: bool, decoder: str, terms: Terms, refused: Mapping[str, object]) -> None:
    """Refuse options that do not go with ``--evaluate``, before a model is loaded.

    Raises:
        ValueError: they do not; the message says which would.
    """
    for option, value in refused.items():
        if value:
            raise ValueError(f"--evaluate parses the treebank's own sentences and prints scores; leave {option} out")
    if terms.punctuation not in ("counted", "unscored", "removed"):
        raise ValueError(f"--punctuation {terms.punctuation} is unknown; use counted, unscored or removed")
    if not dependencies and terms.punctuation == "unscored":
        raise ValueError("--punctuation unscored is for dependencies; constituents have it counted or removed")
    if not dependencies and terms.gold_root:
        raise ValueError(f"--gold-root is for dependencies; the constituents of {decoder} have no root")


def score_dependencies(
    masking: PerturbedMasking, treebank: Path, decoder: str, terms: Terms, options: Mapping[str, object]
) -> Report:
    """Parse the words of a CoNLL-U treebank and compare."""
    from nlpkit.perturbed_masking.treebanks.conllu import read_conllu
    from nlpkit.perturbed_masking.treebanks.evaluation import evaluate_dependencies, gold_root, without_punctuation
    from nlpkit.perturbed_masking.trees.decoders import choose_decoder, heads_by_vote

    remove = terms.punctuation == "removed"
    gold = [without_punctuation(sentence) if remove else sentence for sentence in read_conllu(treebank)]
    gold = [sentence for sentence in gold if terms.admit(len(sentence.words))]
    refuse_nothing(gold, treebank)
    decode = choose_decoder("dependencies", decoder)
    roots = [{"root": gold_root(sentence)} if terms.gold_root else {} for sentence in gold]
    heads = [
        heads_by_vote(found.matrices, decode, found.units.words, **options, **root)  # type: ignore[arg-type]
        for found, root in zip(masking.iter_measures(gold, masking.voters), roots, strict=True)
    ]
    return evaluate_dependencies(
        gold,
        {decoder: heads},
        given_root=terms.gold_root,
        faithful=terms.faithful,
        score_punctuation=terms.punctuation == "counted",
    )


def score_constituents(
    masking: PerturbedMasking, treebank: Path, decoder: str, terms: Terms, options: Mapping[str, object]
) -> Report:
    """Parse the words of a treebank of Penn brackets and compare."""
    from nlpkit.perturbed_masking.treebanks.brackets import PUNCTUATION_TAGS, read_brackets
    from nlpkit.perturbed_masking.treebanks.evaluation import evaluate_constituents

    dropped = PUNCTUATION_TAGS if terms.punctuation == "removed" else ()
    gold = [one for one in read_brackets(treebank, drop_tags=dropped) if terms.admit(len(one.words))]
    refuse_nothing(gold, treebank)
    trees = masking.constituents([list(one.words) for one in gold], decoder, **options)
    return evaluate_constituents(gold, {decoder: trees})


def refuse_nothing(gold: Sequence[object], treebank: Path) -> None:
    """Refuse to score no sentence at all.

    Raises:
        ValueError: the treebank is empty, or every sentence was left out.
    """
    if not gold:
        raise ValueError(f"{treebank} holds no sentence to score, or none of at most --max-words words")
