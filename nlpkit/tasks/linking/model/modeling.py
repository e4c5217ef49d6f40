"""A cross-encoder: one score for each entity that a mention may stand for, and one for none of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel
from transformers.modeling_outputs import MultipleChoiceModelOutput
from transformers.utils import can_return_tuple

from nlpkit.losses.loss import Loss
from nlpkit.losses.standard import CrossEntropyLoss
from nlpkit.pretrained import open_config
from nlpkit.sources import find_model
from nlpkit.tasks.encoders_for_heads import encoder_for_head
from nlpkit.tasks.linking.model.configuration import LinkingConfig
from nlpkit.training.precision import refuse_fp16_step
from nlpkit.wobert.saving import SavedWhole


class LinkingModel(SavedWhole, PreTrainedModel):
    """Any encoder of transformers with a head that compares a mention with descriptions of entities.

    Source: kexue.fm/archives/6919 reads a question and a description across one another, and decides pair by pair;
    here the candidates of a mention and NIL are in one softmax, so that they are compared. ``EntityLinker`` puts it
    beside a tokenizer and a knowledge base, and texts in.

    Args:
        config: of the encoder and the head.

    Note:
        It costs one pass of the encoder per candidate, and one per mention for NIL.

    Example:
        >>> from transformers import BertConfig
        >>> encoder = BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        ...                      intermediate_size=8)
        >>> model = LinkingModel(LinkingConfig(encoder=encoder)).eval()
        >>> ids = torch.tensor([[[2, 7, 3, 7, 3], [2, 7, 3, 8, 3], [0, 0, 0, 0, 0]]])  # NIL, a candidate, padding
        >>> logits = model(ids, attention_mask=ids > 0, mention_mask=ids == 7).logits
        >>> logits.shape, logits.isfinite().tolist()
        (torch.Size([1, 3]), [[True, True, False]])
    """

    config_class = LinkingConfig
    config: LinkingConfig
    base_model_prefix = "encoder"
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    supports_gradient_checkpointing = True

    def __init__(self, config: LinkingConfig, encoder: PreTrainedModel | None = None) -> None:
        super().__init__(config)
        inner: Any = config.encoder
        self.encoder: Any = AutoModel.from_config(inner) if encoder is None else encoder
        if isinstance(getattr(self.encoder, "pooler", None), nn.Module):
            self.encoder.pooler = None  # its weights would be trained by nothing, which several processes wait for
        width = int(inner.hidden_size)
        self.dropout = nn.Dropout(config.head_dropout)
        self.compare = nn.Linear(2 * width, width)
        self.score = nn.Linear(width, 2)  # that it is the entity; that it is none
        self.post_init()

    @classmethod
    def from_pretrained(cls, source: str | Path, *args: Any, **kwargs: Any) -> LinkingModel:  # type: ignore[override]
        """Load a saved model, or put a new head on an encoder.

        Args:
            source: a folder, the name of a shipped model, or a repository on the Hub.
            *args: as for ``PreTrainedModel.from_pretrained``.
            **kwargs: likewise. An encoder is loaded in fp32 whatever it is kept in, unless ``dtype`` says otherwise.

        Returns:
            The model, in evaluation mode.

        Raises:
            ValueError: ``source`` is an encoder-decoder.

        Example:
            >>> LinkingModel.from_pretrained("wobert-mini-zh").config.encoder.model_type
            'wobert'
        """
        place = find_model(source)
        where = {name: kwargs[name] for name in ("revision", "subfolder", "token", "cache_dir") if name in kwargs}
        inner = open_config(place, **where)
        if isinstance(inner, LinkingConfig):
            loaded: LinkingModel = super().from_pretrained(place, *args, **kwargs)
            return loaded
        encoder: PreTrainedModel = encoder_for_head(source, place, inner, *args, **kwargs)
        # A configuration makes its parts forget theirs (transformers 5.23.0), and without one masks are not applied.
        attention = encoder.config._attn_implementation
        config = LinkingConfig(encoder=encoder.config)
        config.dtype = encoder.dtype
        config._attn_implementation = attention
        return cls(config, encoder).eval().to(dtype=encoder.dtype)

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        mention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        text: None = None,
        mention: None = None,
        candidates: None = None,
        **kwargs: Any,
    ) -> MultipleChoiceModelOutput:
        """Score candidates; ``LinkingCollator`` makes the arguments.

        Args:
            input_ids: of the text and the mention for NIL, which is the first choice, and of the text and a
                description for each candidate, shape ``(mentions, choices, tokens)``.
            attention_mask: 1 for tokens, 0 for padding, of the same shape; choices without a token are none.
            token_type_ids: as the encoder takes them, of the same shape.
            mention_mask: which tokens are the mention in the text, of the same shape.
            labels: numbers of the right choices, 0 for NIL and -100 for a mention that does not count, shape
                ``(mentions,)``.
            num_items_in_batch: labelled mentions of the whole optimizer step; ``None`` means of this batch.
            text: not read here, as the next two: the Trainer keeps the columns that ``forward`` names, and
                ``LinkingCollator`` needs these.
            mention: likewise.
            candidates: likewise.
            **kwargs: passed to the encoder.

        Returns:
            ``logits``, shape ``(mentions, choices)``, -inf for choices that are none; with labels the loss.

        Raises:
            ValueError: ``mention_mask`` is missing, or the model is trained in fp16.
        """
        refuse_fp16_step(self)
        if mention_mask is None:
            raise ValueError("mention_mask is missing; LinkingCollator makes it, and EntityLinker predicts from texts")
        attended = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        is_choice = attended.bool().any(-1)  # (mentions, choices)
        given = {"input_ids": input_ids, "attention_mask": attended, "token_type_ids": token_type_ids}
        rows = {name: value[is_choice] for name, value in given.items() if value is not None}  # (rows, tokens)
        states = self.encoder(**rows, return_dict=True, **kwargs).last_hidden_state  # (rows, tokens, hidden)
        first = states[torch.arange(len(states)), rows["attention_mask"].int().argmax(-1)]
        of_mention = mention_mask[is_choice].to(states.dtype)[..., None]
        mention_state = (states * of_mention).sum(1) / of_mention.sum(1).clamp(min=1)
        compared = nn.functional.gelu(self.compare(self.dropout(torch.cat([first, mention_state], -1))))
        scores = self.score(self.dropout(compared))  # (rows, 2)
        is_nil = torch.zeros_like(is_choice)
        is_nil[:, 0] = True
        logits = scores.new_full(is_choice.shape, -torch.inf)
        logits[is_choice] = torch.where(is_nil[is_choice], scores[:, 1], scores[:, 0])
        output = MultipleChoiceModelOutput(logits=logits)
        if labels is not None:
            items = {} if num_items_in_batch is None else {"loss": torch.as_tensor(num_items_in_batch)}
            output.loss = self.own_loss().terms(output, {"labels": labels}, items)["loss"]
        return output

    def own_loss(self) -> Loss:
        """What ``TechniqueTrainer`` trains it on."""
        return CrossEntropyLoss()
