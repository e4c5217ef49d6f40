"""WoBERT models: transformers' BERT under ``WoBertConfig``, with losses that stay right under accumulation.

The Trainer hands a model only the columns that its ``forward`` names, so every ``forward`` names them. Heads whose
labels stand in one column share theirs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import (
    BertForMaskedLM,
    BertForPreTraining,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
)
from transformers.modeling_outputs import MaskedLMOutput
from transformers.models.bert.modeling_bert import BertForPreTrainingOutput
from transformers.utils import ModelOutput, can_return_tuple

from nlpkit.losses.normalised import binary_cross_entropy, cross_entropy, squared_error
from nlpkit.losses.pretraining import PreTrainingLoss
from nlpkit.wobert.configuration import WoBertConfig
from nlpkit.wobert.inputs import check_config, explained
from nlpkit.wobert.saving import SavedWhole

Items = Tensor | int | None


class WoBertMixin(SavedWhole):
    """What all WoBERT models share: they are saved whole, and made from a configuration of their own."""

    def __init__(self, config: WoBertConfig, *args: Any, **kwargs: Any) -> None:
        check_config(type(self), config)
        super().__init__(config, *args, **kwargs)

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """Load a model as ``PreTrainedModel.from_pretrained`` does, but never in fp16 unless ``dtype`` is given.

        Args:
            *args: as for ``PreTrainedModel.from_pretrained``.
            **kwargs: likewise.

        Returns:
            The model, in evaluation mode; with ``output_loading_info=True`` a pair of it and what was loaded.
        """
        loaded: Any = super().from_pretrained(*args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        if model.dtype == torch.float16 and not kwargs.keys() & {"dtype", "torch_dtype"}:
            model.float().config.dtype = torch.float32
        return loaded


class LabelledHead(WoBertMixin):
    """Mixin for heads whose labels stand in one column: the scores are those of transformers, the loss is ours.

    Put it before the model's class.
    """

    @explained
    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        num_items_in_batch: Items = None,
        **kwargs: Any,
    ) -> ModelOutput:
        """Score classes; the arguments and the output are those of transformers' class of the same head.

        Args:
            input_ids: and the next four: as for ``WoBertForMaskedLM``.
            labels: as the class says.
            num_items_in_batch: labels of the whole optimizer step; ``None`` means of this batch.
            **kwargs: passed to the encoder; ``return_dict=False`` returns a tuple.

        Returns:
            ``logits``, in the shape that the class says, and with ``labels`` the ``loss``.

        Raises:
            ValueError: the model has no rows for an id, or fewer positions than tokens.
        """
        output = super().forward(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, return_dict=True, **kwargs
        )
        if labels is not None:
            output.loss = self.loss_of(output.logits, labels, num_items_in_batch)
        return output

    def loss_of(self, logits: Tensor, labels: Tensor, num_items_in_batch: Items) -> Tensor:
        """The loss of the whole optimizer step's share, shape ``()``."""
        return cross_entropy(logits, labels, num_items_in_batch=num_items_in_batch)


class WoBertModel(WoBertMixin, BertModel):
    """The encoder."""

    config_class = WoBertConfig
    forward = explained(BertModel.forward)


class WoBertForMaskedLM(WoBertMixin, BertForMaskedLM):
    """The encoder with the masked-LM head; with ``config.sparse_prediction`` the head runs at labelled positions only.

    Source: WoBERT (kexue.fm/archives/7758).

    Note:
        Unlike ``BertForMaskedLM``, the loss honours the Trainer's ``num_items_in_batch``, so that accumulated steps
        equal one large batch even when micro-batches hold different numbers of masked tokens.

    Example:
        >>> config = WoBertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        ...                       intermediate_size=8, sparse_prediction=True)
        >>> ids = torch.tensor([[1, 2, 3]])
        >>> WoBertForMaskedLM(config)(input_ids=ids, labels=torch.tensor([[-100, 5, -100]])).logits.shape
        torch.Size([1, 9])
    """

    config_class = WoBertConfig

    @explained
    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        num_items_in_batch: Items = None,
        **kwargs: Any,
    ) -> MaskedLMOutput:
        """Predict tokens; the arguments and the output are those of ``BertForMaskedLM``.

        Args:
            input_ids: token ids, shape ``(batch, length)``.
            attention_mask: 1 for tokens, 0 for padding, shape ``(batch, length)``.
            token_type_ids: segment of each token, shape ``(batch, length)``.
            position_ids: position of each token, shape ``(batch, length)``.
            inputs_embeds: embeddings in place of ``input_ids``, shape ``(batch, length, hidden)``.
            labels: ids to predict, -100 elsewhere, shape ``(batch, length)``.
            num_items_in_batch: labelled tokens of the whole optimizer step; ``None`` means of this batch.
            **kwargs: passed to the encoder (``output_hidden_states``, ...); ``return_dict=False`` returns a tuple.

        Returns:
            ``logits`` of shape ``(batch, length, vocab)``, or ``(labelled, vocab)`` under ``sparse_prediction``.
        """
        encoded = self.bert(
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            return_dict=True,
            **kwargs,
        )
        states = encoded.last_hidden_state  # (batch, length, hidden)
        if labels is not None and self.config.sparse_prediction:
            labelled = labels != -100
            states, labels = states[labelled], labels[labelled]  # (labelled, hidden), (labelled,)
        logits = self.cls(states)
        loss = None if labels is None else cross_entropy(logits, labels, num_items_in_batch=num_items_in_batch)
        return MaskedLMOutput(
            loss=loss, logits=logits, hidden_states=encoded.hidden_states, attentions=encoded.attentions
        )


class WoBertForPreTraining(WoBertMixin, BertForPreTraining):
    """The encoder with the masked-LM head and the next-sentence head.

    Note:
        The loss is the sum of the two tasks', or that of the one whose labels are given. The Trainer counts masked
        tokens only, so under accumulation (or in several processes) each micro-batch's mean next-sentence loss is
        weighted by its share of the step's masked tokens: the sum of the weights is 1, but a step of micro-batches
        with unequal numbers of masked tokens differs from one large batch in this term. The masked-LM term is exact;
        by ``TechniqueTrainer``, which counts both, so is the other.
    """

    config_class = WoBertConfig

    @explained
    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        next_sentence_label: Tensor | None = None,
        num_items_in_batch: Items = None,
        **kwargs: Any,
    ) -> BertForPreTrainingOutput:
        """Predict tokens and whether the second text follows the first.

        Args:
            input_ids: and the next four: as for ``WoBertForMaskedLM``.
            labels: ids to predict, -100 elsewhere, shape ``(batch, length)``.
            next_sentence_label: 0 where the second text follows the first, 1 where it does not, shape ``(batch,)``.
            num_items_in_batch: labelled tokens of the whole optimizer step; ``None`` means of this batch.
            **kwargs: passed to the encoder; ``return_dict=False`` returns a tuple.

        Returns:
            ``prediction_logits`` of shape ``(batch, length, vocab)``, ``seq_relationship_logits`` of ``(batch, 2)``.
        """
        output = super().forward(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, return_dict=True, **kwargs
        )
        losses = []
        if labels is not None:
            losses.append(cross_entropy(output.prediction_logits, labels, num_items_in_batch=num_items_in_batch))
        if next_sentence_label is not None:
            loss = cross_entropy(output.seq_relationship_logits, next_sentence_label.flatten())
            if labels is not None and num_items_in_batch is not None:
                loss = loss * (labels != -100).sum() / torch.as_tensor(num_items_in_batch).clamp(min=1)
            losses.append(loss)
        output.loss = sum(losses[1:], losses[0]) if losses else None
        return output

    def own_loss(self) -> PreTrainingLoss:
        """What ``TechniqueTrainer`` trains it on."""
        return PreTrainingLoss()


class WoBertForSequenceClassification(LabelledHead, BertForSequenceClassification):
    """The encoder with a classification or regression head on the pooled first token.

    ``labels`` are class ids ``(batch,)``, multi-label targets ``(batch, classes)``, or regression targets; ``logits``
    have shape ``(batch, classes)``.
    """

    config_class = WoBertConfig

    def loss_of(self, logits: Tensor, labels: Tensor, num_items_in_batch: Items) -> Tensor:
        """The loss of the configuration's ``problem_type``, or of the type that the labels suggest, shape ``()``."""
        problem: str | None = self.config.problem_type
        if problem is None:
            whole = labels.dtype in (torch.long, torch.int)
            single = "single_label_classification" if whole else "multi_label_classification"
            problem = "regression" if self.num_labels == 1 else single
        if problem == "regression":
            return squared_error(logits.view_as(labels), labels, num_items_in_batch=num_items_in_batch)
        if problem == "multi_label_classification":
            return binary_cross_entropy(logits, labels, num_items_in_batch=num_items_in_batch)
        return cross_entropy(logits, labels, num_items_in_batch=num_items_in_batch)


class WoBertForTokenClassification(LabelledHead, BertForTokenClassification):
    """The encoder with a classification head on every token.

    ``labels`` are class ids, -100 where there is none, shape ``(batch, length)``; ``logits`` have shape
    ``(batch, length, classes)``.
    """

    config_class = WoBertConfig
