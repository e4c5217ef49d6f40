"""Rows and losses that sentence-transformers' Trainer takes, for SimCSE and CoSENT."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from nlpkit.losses import InfoNCELoss, SentenceTransformersLoss
from nlpkit.losses.embeddings.embedding_loss import EmbeddingLoss
from nlpkit.tasks.given_texts import given_texts
from nlpkit.tasks.similarity.pairs import TextPair, as_pairs, likenesses
from nlpkit.training.dropout import dropout_places

if TYPE_CHECKING:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer


def text_rows(texts: Iterable[str]) -> Dataset:
    """Rows of unsupervised SimCSE: each text is its own positive, and dropout makes the difference.

    Source: arXiv 2104.08821, section 3; kexue.fm/archives/8348.

    Args:
        texts: any; each is taken once, since another copy would be a negative of it.

    Returns:
        Columns ``anchor`` and ``positive``.

    Raises:
        TypeError: as of ``nlpkit.tasks.given_texts.given_texts``.
        ValueError: there are fewer than two texts, so that none would have a negative.

    Example:
        >>> text_rows(["天冷", "下雨", "天冷"])["anchor"][:]
        ['天冷', '下雨']
    """
    from datasets import Dataset

    once = list(dict.fromkeys(text for text in given_texts(texts) if text.strip()))
    if len(once) < 2:
        raise ValueError(f"{len(once)} different texts: SimCSE takes the others of a batch as negatives; give more")
    return Dataset.from_dict({"anchor": once, "positive": once})


def entailment_rows(pairs: Iterable[TextPair | tuple[str, str, str]]) -> Dataset:
    """Rows of supervised SimCSE: premises with what follows from them and what contradicts them.

    Source: arXiv 2104.08821, section 4.

    Args:
        pairs: of premise and hypothesis, labelled ``entailment``, ``neutral`` or ``contradiction``.

    Returns:
        Columns ``anchor``, ``positive`` and ``negative``; a premise with several of both gives a row for each two.

    Raises:
        ValueError: a label is none of the three; no premise has both an entailment and a contradiction.

    Example:
        >>> said = [TextPair("猫睡在床上", "猫在睡", "entailment"), TextPair("猫睡在床上", "猫在跑", "contradiction")]
        >>> entailment_rows(said)[0]
        {'anchor': '猫睡在床上', 'positive': '猫在睡', 'negative': '猫在跑'}
    """
    from datasets import Dataset

    by_premise: dict[str, dict[str, list[str]]] = {}
    for place, (premise, hypothesis, label) in enumerate(as_pairs(pairs)):
        if label not in ("entailment", "neutral", "contradiction"):
            raise ValueError(
                f"pair {place}, counted from 0, is labelled {label!r}; it must be entailment, neutral or contradiction"
            )
        by_premise.setdefault(premise, {}).setdefault(label, []).append(hypothesis)
    rows = [
        {"anchor": premise, "positive": positive, "negative": negative}
        for premise, said in by_premise.items()
        for positive, negative in zip(said.get("entailment", []), said.get("contradiction", []), strict=False)
    ]
    if not rows:
        raise ValueError(f"none of {len(by_premise)} premises has both an entailment and a contradiction")
    return Dataset.from_list(rows)


def likeness_rows(pairs: Iterable[TextPair | tuple[str, str, Any]]) -> Dataset:
    """Rows of CoSENT: pairs with a likeness, of which only the order counts.

    Source: kexue.fm/archives/8847; the loss is ``sentence_transformers.losses.CoSENTLoss``.

    Args:
        pairs: labelled by numbers.

    Returns:
        Columns ``sentence1``, ``sentence2`` and ``score``.

    Raises:
        ValueError: a label is no number; all are the same, so that there is no order to learn.

    Example:
        >>> likeness_rows([TextPair("天冷", "很冷", "4"), TextPair("天冷", "下雨", "1")])["score"][:]
        [4.0, 1.0]
    """
    from datasets import Dataset

    pairs = as_pairs(pairs)
    scores = likenesses(pairs)
    if len(set(scores.tolist())) < 2:
        raise ValueError(f"all {len(pairs)} pairs have the same likeness: there is no order to learn")
    first, second, _ = zip(*pairs, strict=True)
    return Dataset.from_dict({"sentence1": first, "sentence2": second, "score": scores})


def simcse_loss(
    model: SentenceTransformer,
    loss: EmbeddingLoss | None = None,
    *,
    mini_batch_size: int | None = None,
    needs_dropout: bool = True,
) -> SentenceTransformersLoss:
    """The loss of SimCSE, as ``SentenceTransformerTrainer(loss=...)`` takes it.

    Args:
        model: to train.
        loss: ``InfoNCELoss(0.05)`` by default, in which every text is an anchor, as in the post; the paper's is
            ``InfoNCELoss(0.05, symmetric=False)``. ``FlatNCELoss()`` has gradients that small batches do not starve.
        mini_batch_size: as for ``SentenceTransformersLoss``.
        needs_dropout: whether rows are those of ``text_rows``; with other positives dropout is not needed.

    Returns:
        The loss.

    Raises:
        ValueError: both passes of a text would be the same, since the model has no dropout.

    Note:
        Negatives are those of a micro-batch: ``gradient_accumulation_steps`` adds none; a larger batch with
        ``mini_batch_size`` does.
    """
    if needs_dropout and not any(getattr(owner, name) > 0 for owner, name in dropout_places(model)):
        raise ValueError(
            f"{type(model[0]).__name__} has no dropout above 0, without which both passes of a text are the same and "
            "SimCSE learns nothing: set it in the model's configuration, or give other positives"
        )
    return SentenceTransformersLoss(model, loss or InfoNCELoss(0.05), mini_batch_size)
