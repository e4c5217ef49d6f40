"""The functional core: from logits at mask positions to the scores of labels. Tensors in, tensors out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nlpkit.losses.loss import at_least_fp32

#: What pads slots, words and groups of words.
PADDING = -1


def refuse_no_numbers(scores: Tensor) -> Tensor:
    """Refuse scores among which are NaN or infinite ones: no comparison holds for NaN, and ``argmax`` answers anyway.

    Args:
        scores: one row per text.

    Returns:
        The same.

    Raises:
        ValueError: some are not finite.

    Example:
        >>> refuse_no_numbers(torch.tensor([[0.5, float("nan")]]))
        Traceback (most recent call last):
        ValueError: the scores of 1 of 1 texts are NaN or infinite; the model's weights are broken, or overflow in ...
    """
    broken = ~scores.isfinite().flatten(start_dim=1).all(dim=1)  # (texts,)
    if broken.any():
        raise ValueError(
            f"the scores of {int(broken.sum())} of {len(scores)} texts are NaN or infinite; the model's weights are "
            f"broken, or overflow in {scores.dtype}: load it again, in fp32, or train it at a lower learning rate"
        )
    return scores


def one_per_label(name: str, given: Sequence[float] | Tensor, labels: Sequence[str]) -> Tensor:
    """Numbers that belong to labels, such as a prior.

    Args:
        name: of the argument.
        given: what it was.
        labels: in their order.

    Returns:
        Shape ``(labels,)``.

    Raises:
        ValueError: there is not one for each label, or one is not finite.

    Example:
        >>> one_per_label("prior", [-0.5, -1.0], ["good", "bad"])
        tensor([-0.5000, -1.0000])
    """
    numbers = torch.as_tensor(given)
    if numbers.shape != (len(labels),):
        raise ValueError(f"{name} must be one number per label, {len(labels)}; got {len(numbers)}")
    if not numbers.isfinite().all():
        raise ValueError(f"{name}={numbers.tolist()} must be finite numbers; leave it out, and calibrate again")
    return numbers


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


def label_prior(scores: Tensor, mean: str) -> Tensor:
    """The prior over labels that a set of inputs shows.

    Source: contextual calibration (arXiv 2102.09690) and batch calibration (arXiv 2309.17249, equation 4) take the
    arithmetic mean of probabilities. The geometric mean, of log-probabilities, is what leaves the calibrated
    log-probabilities without a preference in the mean.

    Args:
        scores: of labels, ``(inputs, labels)``.
        mean: ``"arithmetic"`` or ``"geometric"``.

    Returns:
        Log-probabilities, ``(labels,)``.

    Raises:
        ValueError: another mean, or scores that are not finite.

    Example:
        >>> label_prior(torch.tensor([[0.0, 4.0], [0.0, 0.0]]), "arithmetic").exp()
        tensor([0.2590, 0.7410])
        >>> label_prior(torch.tensor([[0.0, 4.0], [0.0, 0.0]]), "geometric").exp()
        tensor([0.1192, 0.8808])
    """
    refuse_no_numbers(scores)
    if mean == "geometric":
        return mean_log_probability(scores)
    if mean != "arithmetic":
        raise ValueError(f"mean={mean!r} is unknown; use 'geometric' or 'arithmetic'")
    logs = at_least_fp32(scores).log_softmax(dim=-1)
    return logs.logsumexp(dim=0).log_softmax(dim=-1)
