"""An encoder with a head that finds entities."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel
from transformers import initialization as init
from transformers.utils import can_return_tuple

from nlpkit.losses.loss import Loss
from nlpkit.losses.standard import CrossEntropyLoss
from nlpkit.pretrained import open_config
from nlpkit.sources import find_model
from nlpkit.tasks.encoders_for_heads import encoder_for_head
from nlpkit.tasks.entities.configuration import EntityConfig, Head, Units, checked_types, special_ids
from nlpkit.tasks.entities.heads.bio_heads import ChainHead, ChainLoss, spans_of_labels
from nlpkit.tasks.entities.heads.crf import Chain, best_labels
from nlpkit.tasks.entities.heads.head import CharacterHead, TokenHead
from nlpkit.tasks.entities.heads.span_decoding import UnitSpan, find_spans, without_overlaps
from nlpkit.tasks.entities.heads.span_loss import SpanLoss
from nlpkit.tasks.entities.output import EntityOutput, bio_logits
from nlpkit.token_table import token_rows
from nlpkit.training.precision import refuse_fp16_step
from nlpkit.wobert.saving import SavedWhole

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_OF_UNITS = ("unit_mask", "character_to_token", "character_ids")


class EntityModel(SavedWhole, PreTrainedModel):
    """Any encoder of transformers with a head that finds entities.

    Source: kexue.fm/archives/8373 (GlobalPointer), 8877 (its efficient form), 7758 (words). ``EntityRecognizer`` puts
    it beside a tokenizer, and texts in.

    Args:
        config: of the encoder, the head and the types.

    Note:
        Units are positions where an entity may begin or end: tokens that are neither padding nor special, or, with
        ``units="characters"``, characters of a token.

    Example:
        >>> from transformers import BertConfig
        >>> encoder = BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        ...                      intermediate_size=8)
        >>> model = EntityModel(EntityConfig(encoder=encoder, types=["LOC"], head_size=4, special_ids=[2, 3])).eval()
        >>> output = model(torch.tensor([[2, 7, 5, 3]]))
        >>> output.scores.pairs[0, 0].isfinite().int()
        tensor([[0, 0, 0, 0],
                [0, 1, 1, 0],
                [0, 0, 1, 0],
                [0, 0, 0, 0]], dtype=torch.int32)
        >>> output.logits.shape
        torch.Size([1, 4, 3])
    """

    config_class = EntityConfig
    config: EntityConfig
    base_model_prefix = "encoder"
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    supports_gradient_checkpointing = True

    def __init__(self, config: EntityConfig, encoder: PreTrainedModel | None = None) -> None:
        super().__init__(config)
        if not config.entity_types:
            raise ValueError("the configuration names no types of entities; give types=[...]")
        inner: Any = config.encoder
        self.encoder: Any = AutoModel.from_config(inner) if encoder is None else encoder
        if isinstance(getattr(self.encoder, "pooler", None), nn.Module):
            self.encoder.pooler = None  # its weights would be trained by nothing, which several processes wait for
        sizes = (config.head, int(inner.hidden_size), config.entity_types, config.head_size, config.head_dropout)
        if config.units == "tokens":
            self.head: nn.Module = TokenHead(*sizes)
        else:
            rows = token_rows(self.encoder).shape[1] if config.use_characters else 0
            eps = getattr(inner, "layer_norm_eps", None) or 1e-12
            self.head = CharacterHead(*sizes, rows, config.place_reach, eps)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """New weights of the head; those of the encoder are its own class's affair."""
        super()._init_weights(module)
        if isinstance(module, ChainHead):
            for scores in module.moves.values():
                init.zeros_(scores)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        source: str | Path,
        *args: Any,
        types: Any = None,
        head: Head | None = None,
        units: Units | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        settings: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> EntityModel:
        """Load a saved model, or put a new head on an encoder.

        Args:
            source: a folder, the name of a shipped model, or a repository on the Hub.
            *args: as for ``PreTrainedModel.from_pretrained``.
            types: of entities, where ``source`` is an encoder.
            head: likewise, as of ``EntityConfig``; ``"global_pointer"`` by default.
            units: likewise; ``"tokens"`` by default.
            tokenizer: likewise; says which tokens are special.
            settings: likewise, further ones of ``EntityConfig``.
            **kwargs: as for ``PreTrainedModel.from_pretrained``; an encoder comes in fp32 unless ``dtype`` is given.

        Returns:
            The model, in evaluation mode.

        Raises:
            TypeError: a setting is unknown.
            ValueError: ``source`` is an encoder and there are no types; or it is a saved model, and there are.

        Example:
            >>> model = EntityModel.from_pretrained("wobert-mini-zh", types=["LOC", "PER"], units="characters")
            >>> model.config.encoder.model_type, model.config.entity_types
            ('wobert', ['LOC', 'PER'])
        """
        place = find_model(source)
        where = {name: kwargs[name] for name in ("revision", "subfolder", "token", "cache_dir") if name in kwargs}
        inner = open_config(place, **where)
        if unknown := sorted(set(settings or {}) - EntityConfig.__annotations__.keys()):
            known = ", ".join(name for name in EntityConfig.__annotations__ if name != "encoder")
            raise TypeError(f"unknown setting {unknown[0]!r}; those of EntityConfig are {known}")
        if isinstance(inner, EntityConfig):
            if types is not None and checked_types(types) != inner.entity_types:
                raise ValueError(f"types={types}, but {source} was trained for {inner.entity_types}; leave types out")
            for name, wanted in {"head": head, "units": units, **(settings or {})}.items():
                own = getattr(inner, name, None)
                if wanted not in (None, own):
                    raise ValueError(f"{name}={wanted!r}, but {source} has {name}={own!r}; leave {name} out")
            loaded: EntityModel = super().from_pretrained(place, *args, **kwargs)
            return loaded
        if types is None:
            raise ValueError(f"{source} is an encoder, and finds no entities yet; give types=[...] to train it for")
        encoder: PreTrainedModel = encoder_for_head(source, place, inner, *args, **kwargs)
        # A configuration makes its parts forget theirs (transformers 5.23.0), and without one masks are not applied.
        attention = encoder.config._attn_implementation
        config = EntityConfig(  # type: ignore[call-arg]
            encoder=encoder.config,
            types=types,
            head=head or "global_pointer",
            units=units or "tokens",
            special_ids=None if tokenizer is None else special_ids(tokenizer),
            **(settings or {}),
        )
        config.dtype = encoder.dtype
        config._attn_implementation = attention
        return cls(config, encoder).eval().to(dtype=encoder.dtype)

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        unit_mask: Tensor | None = None,
        character_to_token: Tensor | None = None,
        character_ids: Tensor | None = None,
        entities: Tensor | None = None,
        labels: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        text: None = None,
        spans: None = None,
        **kwargs: Any,
    ) -> EntityOutput:
        """Score spans, or labels of units; ``EntityCollator`` makes the arguments.

        Args:
            input_ids: token ids, shape ``(batch, tokens)``.
            attention_mask: 1 for tokens, 0 for padding, shape ``(batch, tokens)``.
            token_type_ids: and the next two: as the encoder takes them.
            position_ids: likewise.
            inputs_embeds: likewise.
            unit_mask: which tokens are units, shape ``(batch, tokens)``; by default those that are neither padding nor
                special.
            character_to_token: with ``units="characters"``: token of each character, -1 for none and for padding,
                shape ``(batch, characters)``.
            character_ids: likewise: the token id of each character by itself.
            entities: for a head that scores spans: number of the type, first and last unit of each entity, shape
                ``(batch, most, 3)``.
            labels: for a head that scores spans the number of entities of each text, -100 for one without labels,
                shape ``(batch,)``; for the others numbers of BIO labels, -100 elsewhere, shape ``(batch, length)``.
            num_items_in_batch: labelled texts, or labelled units, of the whole optimizer step; ``None`` means of this
                batch.
            text: not read here, as ``spans``; named so that the Trainer keeps both columns for ``EntityCollator``.
            spans: likewise.
            **kwargs: passed to the encoder.

        Returns:
            Scores of the head, and with labels the loss.

        Raises:
            ValueError: ``character_to_token`` is missing, an entity is no span of units, or training is in fp16.
        """
        refuse_fp16_step(self)
        tokens = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "position_ids": position_ids,
            "inputs_embeds": inputs_embeds,
        }
        units = {"unit_mask": unit_mask, "character_to_token": character_to_token, "character_ids": character_ids}
        output, mask = self._read(tokens, units, kwargs)
        if not self.training or output.scores is None:  # training has no use for labels made of spans
            output.logits = bio_logits(output, mask, marginal=self.config.head == "crf" and not self.training)
        if labels is not None:
            batch = {"labels": labels, "entities": entities}
            items = {} if num_items_in_batch is None else {"loss": torch.as_tensor(num_items_in_batch)}
            output.loss = self.own_loss().terms(output, batch, items)["loss"]
        return output

    @torch.no_grad()
    def find(self, batch: Mapping[str, Tensor], *, threshold: float = 0.5, overlaps: bool = True) -> list[UnitSpan]:
        """The entities of a batch, as spans of its units.

        Args:
            batch: as ``EntityCollator`` makes it; labels are not read.
            threshold: least probability, for a head that scores spans; the others take the best labelling.
            overlaps: whether entities may overlap; without, the more probable one of two stays.

        Returns:
            The spans, by text and unit.
        """
        units = {name: batch.get(name) for name in _OF_UNITS}
        tokens = {name: value for name, value in batch.items() if name not in {*units, "labels", "entities"}}
        output, mask = self._read(tokens, units, {})
        if any(part is not None and part.isnan().any() for part in output.scores or output.chain or ()):
            raise ValueError("the model gives NaN: its weights are broken, as after training in fp16; train it again")
        if output.scores is not None:
            found = find_spans(output.scores, threshold)
            return found if overlaps else without_overlaps(found)
        assert output.chain is not None
        chain, mask = Chain(*(part.cpu() for part in output.chain)), mask.cpu()
        return spans_of_labels(chain, best_labels(chain, mask), mask)

    def own_loss(self) -> Loss:
        """What ``TechniqueTrainer`` trains it on."""
        if self.config.scores_spans:
            return SpanLoss()
        return ChainLoss() if self.config.head == "crf" else CrossEntropyLoss()

    def _read(
        self, tokens: Mapping[str, Tensor | None], units: Mapping[str, Tensor | None], options: dict[str, Any]
    ) -> tuple[EntityOutput, Tensor]:
        """What the head gives, and which positions are units, shape ``(batch, length)``."""
        given = {name: value for name, value in tokens.items() if value is not None}
        encoded = self.encoder(**given, return_dict=True, **options)
        words = encoded.last_hidden_state  # (batch, tokens, hidden)
        if self.config.units == "tokens":
            mask = self._units(given, units["unit_mask"], words)
            scored = self.head(words, mask)
        else:
            tokens_of_characters, rows = self._characters(units["character_to_token"], units["character_ids"])
            mask = tokens_of_characters >= 0
            scored = self.head(words, tokens_of_characters, rows)
        output = EntityOutput(**{"scores" if self.config.scores_spans else "chain": scored})
        output.hidden_states, output.attentions = encoded.get("hidden_states"), encoded.get("attentions")
        return output, mask

    def _units(self, tokens: Mapping[str, Tensor], unit_mask: Tensor | None, words: Tensor) -> Tensor:
        if unit_mask is not None:
            return unit_mask.bool()
        units = tokens.get("attention_mask", words.new_ones(words.shape[:2])).bool()
        if self.config.special_ids and "input_ids" in tokens:
            ids = tokens["input_ids"]
            units = units & ~torch.isin(ids, ids.new_tensor(self.config.special_ids))
        return units

    def _characters(
        self, character_to_token: Tensor | None, character_ids: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        if character_to_token is None:
            raise ValueError(
                "character_to_token is missing: the model's units are characters. EntityCollator makes it from texts, "
                "and EntityRecognizer predicts; pipeline reads models of tokens alone"
            )
        if not self.config.use_characters:
            return character_to_token, None
        if character_ids is None:
            raise ValueError("character_ids is missing; give it, or set use_characters=False in the configuration")
        return character_to_token, self.encoder.get_input_embeddings()(character_ids)
