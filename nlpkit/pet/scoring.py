"""The functional core: from logits at mask positions to the scores of labels. Tensors in, tensors out."""

from __future__ import annotations

import torch
from torch import Tensor

from nlpkit.losses.loss import at_least_fp32

#: What pads slots, words and groups of words.
PADDING = -1


def words_from_logits(
    logits: Tensor,
    log_normalizers: Tensor | None,
    words: Tensor,
    variants: Tensor,
    mean_over_tokens: bool,
) -> Tensor:
    """Log-probability of each word at its masks, its tokens taken as independent.

    Source: PET with several masks (Schick and Schuetze, 2021, arXiv 2009.07118, section 3.1); the product rule of
    kexue.fm/archives/7764.

    Args:
        logits: of the label words' tokens at the masks of every variant of the cloze (a variant has so many masks),
            shape ``(batch, variants, masks, tokens)``.
        log_normalizers: logsumexp over the whole vocabulary at the same masks, ``(batch, variants, masks)``; ``None``
            leaves it out, which changes no comparison between words of one variant.
        words: for each word and mask the index of the token in ``logits``, padded with -1, ``(batch, words, masks)``.
        variants: the variant that a word is read off, ``(batch, words)``.
        mean_over_tokens: divide by the number of tokens (geometric mean of the probabilities) instead of summing.

    Returns:
        Scores in nats, shape ``(batch, words)``.

    Example:
        >>> logits = torch.tensor([[[[0.0, 2.0]]]])
        >>> words_from_logits(logits, None, torch.tensor([[[0], [1]]]), torch.tensor([[0, 0]]), True)
        tensor([[0., 2.]])
    """
    logits = at_least_fp32(logits)
    if log_normalizers is not None:
        logits = logits - at_least_fp32(log_normalizers)[..., None]
    present = words != PADDING  # (batch, words, masks)
    batch = torch.arange(len(logits), device=logits.device)[:, None, None]
    masks = torch.arange(words.shape[2], device=logits.device)
    chosen = logits[batch, variants[:, :, None], masks, words.clamp(min=0)]  # (batch, words, masks)
    total = chosen.masked_fill(~present, 0.0).sum(dim=2)
    return total / present.sum(dim=2).clamp(min=1) if mean_over_tokens else total


def labels_from_words(scores: Tensor, groups: Tensor, aggregate: str) -> Tensor:
    """Scores of labels from those of their words.

    Source: the mean is PET's (arXiv 2001.07676, its reference implementation); the others are the usual alternatives.

    Args:
        scores: of words, ``(batch, words)``.
        groups: the words of each label by number, padded with -1, ``(labels, words of a label)``.
        aggregate: ``"mean"``, ``"logsumexp"`` or ``"max"``.

    Returns:
        Shape ``(batch, labels)``.

    Example:
        >>> labels_from_words(torch.tensor([[1.0, 3.0, 5.0]]), torch.tensor([[0, 1], [2, -1]]), "mean")
        tensor([[2., 5.]])
    """
    present = groups != PADDING  # (labels, members)
    members = scores[:, groups.clamp(min=0)]  # (batch, labels, members)
    if aggregate == "mean":
        return members.masked_fill(~present, 0.0).sum(dim=2) / present.sum(dim=1)
    members = members.masked_fill(~present, -torch.inf)
    return members.amax(dim=2) if aggregate == "max" else members.logsumexp(dim=2)


def calibrated(scores: Tensor, prior: Tensor) -> Tensor:
    """Scores after the model's prior over labels is taken out.

    Source: contextual calibration (Zhao et al., 2021, arXiv 2102.09690) with the prior of content-free inputs; PMI-DC
    (Holtzman et al., 2021, arXiv 2104.08315) with that of the bare pattern, for which this is
    ``log p(y | x) - log p(y)``; with a prior over unlabelled texts, the batch calibration of arXiv 2309.17249.

    Args:
        scores: of labels, up to a constant per row, ``(batch, labels)``.
        prior: log-probabilities of the labels, ``(labels,)``.

    Returns:
        Log-probabilities, ``(batch, labels)``; an input whose scores are the prior gets the uniform distribution.

    Example:
        >>> calibrated(torch.tensor([[2.0, 1.0]]), torch.tensor([2.0, 1.0])).exp()
        tensor([[0.5000, 0.5000]])
    """
    return (at_least_fp32(scores).log_softmax(dim=-1) - prior).log_softmax(dim=-1)


def mean_log_probability(scores: Tensor) -> Tensor:
    """The prior over labels that a set of inputs shows: the normalised geometric mean of their distributions.

    Args:
        scores: of labels, ``(inputs, labels)``.

    Returns:
        Log-probabilities, ``(labels,)``.

    Example:
        >>> mean_log_probability(torch.tensor([[0.0, 4.0], [4.0, 0.0]])).exp()
        tensor([0.5000, 0.5000])
    """
    return at_least_fp32(scores).log_softmax(dim=-1).mean(dim=0).log_softmax(dim=-1)
