"""The probabilities of ZLPR out of a stock head and a stock pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from nlpkit.losses.last_layer import last_layer, refuse_folded
from nlpkit.losses.multi_label.zlpr import ZLPRLoss

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@torch.no_grad()
def fold_zlpr(model: PreTrainedModel, loss: ZLPRLoss | None = None, *, layer: nn.Linear | None = None) -> None:
    """Make a classifier that was trained by ZLPR give logits whose sigmoid is the probability, once and in place.

    Source: kexue.fm/archives/9064: the probability is ``sigmoid(2s)``. The factor goes into the last linear layer, and
    ``config.problem_type`` says that classes are independent, so that after ``save_pretrained``
    ``pipeline("text-classification", folder, top_k=None)`` gives these probabilities without nlpkit.

    Args:
        model: a sequence classifier of transformers, after training.
        loss: it was trained by, for its scale and learned threshold; ``None`` means ``ZLPRLoss()``.
        layer: the last linear layer; ``None`` finds the only one outside of the encoder with an output per class.

    Raises:
        ValueError: something has been folded into the model before, the last layer is not found, or it has no bias
            for a learned threshold to go into.

    Note:
        Twice the logits are exact in every precision: probabilities above 0.5 belong to logits above the threshold.
        To train on, load the model as it was before.

    Example:
        >>> from transformers import BertConfig, BertForSequenceClassification
        >>> model = BertForSequenceClassification(BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1,
        ...                                                  num_attention_heads=2, intermediate_size=8, num_labels=3))
        >>> before = model.classifier.weight.clone()
        >>> fold_zlpr(model)
        >>> torch.equal(model.classifier.weight, 2 * before), model.config.problem_type
        (True, 'multi_label_classification')
    """
    loss = ZLPRLoss() if loss is None else loss
    refuse_folded(model)
    layer = last_layer(model, int(model.config.num_labels or 0)) if layer is None else layer
    threshold = torch.as_tensor(loss.threshold)
    bias: Tensor | None = layer.bias
    if bias is not None:
        bias.sub_(threshold.to(bias.device)).mul_(2 * loss.gamma)
    elif threshold != 0:
        raise ValueError(
            f"the last layer of {type(model).__name__} has no bias that a learned threshold of {threshold.item():g} "
            f"could go into: subtract it from the logits, or use zlpr_probabilities(logits, threshold=...)"
        )
    layer.weight.mul_(2 * loss.gamma)
    model.config.problem_type = "multi_label_classification"
    model.config.zlpr_folded = True
