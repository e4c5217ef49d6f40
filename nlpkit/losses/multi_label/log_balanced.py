"""Classes of tokens, balanced by a logarithm around the tokens of each class."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from nlpkit.losses.labels import checked_indices, refuse_probabilities, signed, whole
from nlpkit.losses.loss import Loss, at_least_fp32
from nlpkit.losses.multi_label.log_sums import keep_finite_, log_one_plus_sum


def log_balanced_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """``sum over classes j of log(1 + sum over tokens i of class j, and k != j, of exp(s_ik - s_ij))`` of a sequence.

    Source: kexue.fm/archives/9158, equation 2, with hard labels.

    Args:
        logits: shape ``(..., tokens, classes)``; -inf leaves a class out.
        labels: class of each token, -100 for none, shape ``(..., tokens)``.

    Returns:
        Nats, shape ``(...)``; 0 where no token has a class.

    Raises:
        ValueError: labels are of another shape, or no classes; a token's class has a logit of -inf; or (on the CPU)
            logits are surely probabilities.

    Note:
        The cross-entropy of one token alone; of two classes ``zlpr`` of the difference of their logits, with tokens
        for classes; never more than the sum of the tokens' cross-entropies.

    Example:
        >>> log_balanced_cross_entropy(torch.zeros(1, 3, 2), torch.tensor([[0, 0, 1]])).item()
        1.791...
    """
    _refuse_other_than_classes(logits, labels)
    if logits.device.type == "cpu":  # elsewhere a look would wait for the device
        refuse_probabilities(logits)
    return _of_sequences(logits, labels)


def _of_sequences(logits: Tensor, labels: Tensor) -> Tensor:
    logits, labels = at_least_fp32(logits), signed(labels)
    target = F.one_hot(labels.clamp(min=0), logits.shape[-1]).bool()
    losing = torch.where(target, -torch.inf, logits)  # -inf has no part in the sum, and takes no gradient
    peak = losing.detach().amax(dim=-1, keepdim=True).clamp(min=torch.finfo(logits.dtype).min)
    total = (losing - peak).exp().sum(dim=-1)  # (..., tokens)
    alone = total == 0  # one class, or all others at -inf
    gaps = peak.squeeze(-1) + torch.where(alone, 1.0, total).log()
    own = logits.gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    if (torch.isneginf(own) & (labels != -100)).any():
        raise ValueError("labels name a class whose logit is -inf: set the label to -100")
    gaps = keep_finite_(gaps - own)
    counted = target & ((labels != -100) & ~alone).unsqueeze(-1)
    by_class = torch.where(counted, gaps.unsqueeze(-1), -torch.inf)  # (..., tokens, classes)
    return log_one_plus_sum(by_class.transpose(-1, -2)).sum(dim=-1)


class LogBalancedLoss(Loss):
    """``log_balanced_cross_entropy`` of sequences; an item is a sequence. Experimental.

    Source: kexue.fm/archives/9158, an attempt that its author calls unsuccessful, since nothing is known about its
    minimum for labels between 0 and 1; for hard labels he finds it good, and gives no figures.

    Note:
        Tokens of a class share one logarithm, so that a class of many tokens weighs little more than one of few: meant
        for taggers, where most tokens are of one class. Measure it against ``CrossEntropyLoss``. The loss of a text is
        not the sum over its parts, so where texts are cut matters. The plain Trainer counts tokens, from which
        sequences cannot be told, and is refused.

    Example:
        >>> LogBalancedLoss()(torch.zeros(1, 3, 2), torch.tensor([[0, -100, 1]])).item()
        1.386...
    """

    def valid(self, labels: Tensor) -> Tensor:
        """Sequences of which some token has a class."""
        return (labels != -100).any(dim=-1)

    def align_logits(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The logits, if there is a row of them for each label."""
        _refuse_other_than_classes(logits, labels)
        self.refuse_probabilities(logits)
        return logits

    def values(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of each sequence in nats, shape ``(sequences,)``."""
        _refuse_other_than_classes(logits, labels)
        return _of_sequences(logits, labels)

    def labels_per_item(self, labels: Tensor) -> int:
        """Not known: raises a ``ValueError``."""
        raise ValueError(
            "LogBalancedLoss averages over sequences, and num_items_in_batch counts tokens: give the loss to "
            "TechniqueTrainer(loss=...), which counts sequences, or call average(outputs, labels, items=sequences)"
        )


def _refuse_other_than_classes(logits: Tensor, labels: Tensor) -> None:
    if labels.shape != logits.shape[:-1] or labels.dim() == 0:
        raise ValueError(
            f"labels of shape {tuple(labels.shape)} do not fit logits of shape {tuple(logits.shape)}: give one class "
            f"for each token of a sequence, or -100"
        )
    labels = whole(labels)
    checked_indices(labels[labels != -100], logits.shape[-1])
