"""Heads that answer questions: where in a text the answer stands, or which of several texts it is."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import BertForMultipleChoice, BertForQuestionAnswering
from transformers.modeling_outputs import QuestionAnsweringModelOutput
from transformers.utils import can_return_tuple

from nlpkit.losses.normalised import cross_entropy
from nlpkit.losses.standard import SpanLoss
from nlpkit.wobert.configuration import WoBertConfig
from nlpkit.wobert.inputs import explained
from nlpkit.wobert.modeling import Items, LabelledHead, WoBertMixin


class WoBertForMultipleChoice(LabelledHead, BertForMultipleChoice):
    """The encoder with one score for each choice of an answer.

    ``input_ids`` and the four columns like them have shape ``(batch, choices, length)``, ``labels`` are the numbers of
    the right choices, shape ``(batch,)``, and ``logits`` have shape ``(batch, choices)``.
    """

    config_class = WoBertConfig


class WoBertForQuestionAnswering(WoBertMixin, BertForQuestionAnswering):
    """The encoder with scores of where an answer starts and ends.

    Note:
        Unlike in ``BertForQuestionAnswering``, padding takes no part in the loss: a row's is the same in any batch.

        The Trainer counts items in a column called ``labels``, which this task does not have, and divides the loss by
        the number of accumulated steps. That equals one large batch where every micro-batch holds as many answers
        that lie in their windows; elsewhere the answers of smaller micro-batches weigh more. ``TechniqueTrainer``
        counts answers and is exact, as is a loop that passes ``num_items_in_batch``.
    """

    config_class = WoBertConfig

    def __init__(self, config: WoBertConfig) -> None:
        if config.num_labels != 2:  # as of a classifier whose encoder is to be taken over
            raise ValueError(
                f"num_labels={config.num_labels} must be 2: a score of where an answer starts and one of where it "
                "ends; give num_labels=2 to from_pretrained or to the configuration"
            )
        super().__init__(config)

    @explained
    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        num_items_in_batch: Items = None,
        **kwargs: Any,
    ) -> QuestionAnsweringModelOutput:
        """Find answers; the arguments and the output are those of ``BertForQuestionAnswering``.

        Args:
            input_ids: and the next four: as for ``WoBertForMaskedLM``.
            start_positions: first token of each answer, shape ``(batch,)``. Positions beyond the row's tokens count
                for nothing.
            end_positions: last token of each answer, likewise.
            num_items_in_batch: answers of the whole optimizer step; ``None`` means of this batch.
            **kwargs: passed to the encoder; ``return_dict=False`` returns a tuple.

        Returns:
            ``start_logits`` and ``end_logits`` of shape ``(batch, length)``.
        """
        output = super().forward(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, return_dict=True, **kwargs
        )
        if start_positions is not None and end_positions is not None:
            sides = [(output.start_logits, start_positions), (output.end_logits, end_positions)]
            output.loss = sum(_place_loss(*side, attention_mask, num_items_in_batch) for side in sides) / 2
        return output

    def own_loss(self) -> SpanLoss:
        """What ``TechniqueTrainer`` trains it on."""
        return SpanLoss(masks_padding=True)


def _place_loss(logits: Tensor, places: Tensor, attention_mask: Tensor | None, items: Items) -> Tensor:
    """Cross-entropy of a place among a row's own tokens, places elsewhere counting for nothing."""
    length = logits.shape[1]
    places = places.flatten().clamp(0, length)  # (batch,)
    if attention_mask is not None:
        own = attention_mask != 0  # (batch, length)
        logits = logits.masked_fill(~own, torch.finfo(logits.dtype).min)
        places = places.where(F.pad(own, (0, 1)).gather(1, places[:, None])[:, 0], length)
    return cross_entropy(logits, places, num_items_in_batch=items, ignore_index=length)
