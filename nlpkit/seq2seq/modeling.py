"""UniLM: one encoder that reads a source both ways and writes a target from left to right, a token at a time."""

from __future__ import annotations

import inspect
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import AutoTokenizer, BertLMHeadModel, Cache, GenerationMixin, PreTrainedConfig
from transformers.modeling_outputs import CausalLMOutputWithCrossAttentions
from transformers.utils import can_return_tuple

from nlpkit.losses.item_losses import added_up, cross_entropies
from nlpkit.losses.labels import signed
from nlpkit.losses.loss import at_least_fp32
from nlpkit.losses.normalised import divide_by_items
from nlpkit.losses.standard import CrossEntropyLoss
from nlpkit.probes.room import first_position
from nlpkit.seq2seq.configuration import UniLmConfig
from nlpkit.seq2seq.generation import PrefixGeneration
from nlpkit.seq2seq.model_inputs import checked_segments, positions, refuse_seen_labels
from nlpkit.seq2seq.prefix_mask import prefix_mask
from nlpkit.sources import find_file, find_model
from nlpkit.wobert.inputs import check_config, explained
from nlpkit.wobert.saving import SavedWhole

_OF_GENERATE = inspect.signature(GenerationMixin.prepare_inputs_for_generation).parameters
#: What heads and ``generate`` call a cache; the first since transformers 5.24.
CACHE = "cache" if "cache" in _OF_GENERATE else "past_key_values"


class PrefixLanguageModel(PrefixGeneration):
    """Mixin that makes UniLM of an encoder with a language model's head: put it before the head's class.

    The head is one of transformers' ``...ForCausalLM`` (``BertLMHeadModel``) over an encoder that takes a mask of four
    dimensions and a cache: BERT, RoBERTa, XLM-R, CamemBERT, ELECTRA, ERNIE, RemBERT. An encoder without a second
    segment (``type_vocab_size=1``) tells source and target apart by the mask alone.

    Args:
        config: of the head's class; ``is_decoder`` is set in it.
        *args: as for the head's class.
        **kwargs: likewise.

    Raises:
        TypeError: the class below has no place for a mask, a cache or positions.

    Example:
        >>> import torch
        >>> from transformers import RobertaConfig, RobertaForCausalLM
        >>> class RobertaUniLm(PrefixLanguageModel, RobertaForCausalLM):
        ...     "Reads and writes with RoBERTa."
        >>> model = RobertaUniLm(RobertaConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        ...                                    intermediate_size=8))
        >>> segments = torch.tensor([[0, 0, 0, 1, 1]])
        >>> model(torch.tensor([[2, 7, 3, 8, 3]]), token_type_ids=segments).logits.shape
        torch.Size([1, 5, 9])
    """

    # Checked on transformers 5.23.0: its heads compute no loss without labels, and hand a mask of four dimensions on
    # as it is; whether the Trainer counts labels from the second one on goes by `loss_type`.
    _supports_flash_attn = False
    _supports_flex_attn = False

    def __init__(self, config: PreTrainedConfig, *args: Any, **kwargs: Any) -> None:
        lacking = _NEEDED - _parameters_below(type(self))
        if lacking:
            raise TypeError(
                f"{type(self).__name__}: the forward of the class below the mixin does not name "
                f"{', '.join(sorted(lacking))}; put the mixin before a ...ForCausalLM of BERT, RoBERTa or the like"
            )
        config.is_decoder = True
        super().__init__(config, *args, **kwargs)
        self.loss_type = "ForCausalLM"
        self._first_position = first_position(self)
        self._forbid_special_tokens()

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
        num_items_in_batch: Tensor | int | None = None,
        past_key_values: Cache | None = None,
        cache: Cache | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        source: None = None,
        target: None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithCrossAttentions:
        """Score the next token at each position; ``UniLmCollator`` makes the arguments.

        Args:
            input_ids: ``[CLS] source [SEP] target [SEP]``, shape ``(batch, length)``.
            attention_mask: 1 for tokens, 0 for padding, shape ``(batch, length)``, that of tokens in a cache included;
                or a mask as ``prefix_mask`` makes it.
            token_type_ids: 0 for the source, its ``[CLS]`` and ``[SEP]`` included, and for padding; 1 for the target.
                Left out, all tokens are of the source, or behind a cache of the target.
            position_ids: the number of each token in its row, from 0, padding not counted.
            inputs_embeds: embeddings in place of ``input_ids``, shape ``(batch, length, hidden)``.
            labels: the tokens of the target at their own places, and -100 elsewhere: the logits at a token are
                compared with the label of the next one.
            num_items_in_batch: labelled tokens of the whole optimizer step; ``None`` means of this batch.
            past_key_values: a cache; what is read now is of the target.
            cache: the same, as transformers calls it from 5.24 on.
            use_cache: whether to return one.
            logits_to_keep: of the last so many positions only; 0 means of all.
            source: not read here, as ``target``: the Trainer keeps the columns that ``forward`` names, and
                ``UniLmCollator`` needs these two.
            target: likewise.
            **kwargs: passed to the encoder; ``return_dict=False`` returns a tuple.

        Returns:
            ``logits`` of shape ``(batch, length, vocab)``, with ``labels`` the ``loss``, and the cache.

        Raises:
            ValueError: labels without segments, or on the source, where they could be seen; a mask of bools; an
                attention without additive masks; or behind a cache a token of the source.
        """
        given = input_ids if inputs_embeds is None else inputs_embeds
        if given is None:
            raise ValueError("give input_ids or inputs_embeds")
        if labels is not None:
            refuse_seen_labels(labels, token_type_ids)
        cache = past_key_values if cache is None else cache
        past = 0 if cache is None else cache.get_seq_length()
        segments = checked_segments(token_type_ids, given, past)
        if position_ids is None:
            position_ids = positions(attention_mask, given, past)
        outputs: CausalLMOutputWithCrossAttentions = super().forward(
            input_ids,
            attention_mask=self._mask_of(attention_mask, segments, cache),
            token_type_ids=segments if self.config.type_vocab_size > 1 else None,
            position_ids=position_ids + self._first_position,
            inputs_embeds=inputs_embeds,
            use_cache=cache is not None if use_cache is None else use_cache,
            logits_to_keep=logits_to_keep,
            return_dict=True,
            **{CACHE: cache},
            **kwargs,
        )
        if labels is not None and outputs.logits is not None:
            following = nn.functional.pad(signed(labels[:, 1:]), (0, 1), value=-100)
            chosen = following != -100  # the logits of the source, most of all, need no copy in fp32
            losses = cross_entropies(at_least_fp32(outputs.logits[chosen]), following[chosen])
            outputs.loss = divide_by_items(added_up(losses, chosen), chosen, num_items_in_batch)
        return outputs

    def own_loss(self) -> CrossEntropyLoss:
        """What ``TechniqueTrainer`` trains it on."""
        return CrossEntropyLoss(shift=True)

    def _mask_of(self, given: Tensor | None, segments: Tensor, cache: Cache | None) -> Tensor:
        """The mask that attention gets, of what ``forward`` was given."""
        kind = self.config._attn_implementation
        if any(name in str(kind) for name in _WITHOUT_ADDITIVE_MASKS):
            raise ValueError(
                f"attn_implementation={kind!r} takes no additive mask of four dimensions, by which source and target "
                "are told apart; use 'sdpa' or 'eager': model.set_attn_implementation('sdpa')"
            )
        dtype: Any = self.get_input_embeddings().weight.dtype
        if given is not None and given.dim() == 4:
            if not given.is_floating_point():
                raise ValueError(
                    f"attention_mask of shape {tuple(given.shape)} holds {given.dtype}, and attention would add it to "
                    "its scores; give 0 where a token is seen, elsewhere torch.finfo(dtype).min, as prefix_mask does"
                )
            return given.to(dtype)
        if given is not None and given.dim() != 2:
            raise ValueError(
                f"attention_mask of shape {tuple(given.shape)} must be (batch, length), 1 for tokens and 0 for "
                "padding, or (batch, 1, length, keys)"
            )
        if cache is None:
            return prefix_mask(segments, given, dtype)
        keys, _ = cache.get_mask_sizes(segments.shape[1], 0)
        return prefix_mask(segments, given, dtype, past=cache.get_seq_length(), keys=keys)

    def create_masks_for_generate(
        self,
        config: PreTrainedConfig,
        inputs_embeds: Tensor,
        attention_mask: Tensor | None,
        *,
        token_type_ids: Tensor,
        **kwargs: Any,
    ) -> Tensor:
        """The mask for a cache of fixed size, which ``generate`` makes before it calls a compiled ``forward``."""
        return self._mask_of(attention_mask, token_type_ids, kwargs[CACHE])


class UniLmForSequenceToSequence(SavedWhole, PrefixLanguageModel, BertLMHeadModel):
    """BERT or WoBERT as UniLM: it reads ``[CLS] source [SEP]`` both ways, and writes ``target [SEP]`` behind it.

    ``generate`` is that of transformers: give it what the tokenizer makes of sources, padded on the left.

    Source: UniLM (arXiv 1905.03197); kexue.fm/archives/6933.

    Args:
        config: a ``UniLmConfig``.

    Note:
        ``from_pretrained`` loads its own folders, and any BERT's or WoBERT's, with the ids of special tokens from the
        tokenizer that lies there; where none does, call ``use_tokens_of(tokenizer)``. The positions of the encoder,
        512 as a rule, are for source and target together. One source token more costs every target token a key; for
        sources beyond that take an encoder-decoder.

    Example:
        >>> import torch
        >>> config = UniLmConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        ...                      intermediate_size=8, unk_token_id=1, bos_token_id=2, eos_token_id=3, mask_token_id=4)
        >>> model = UniLmForSequenceToSequence(config).eval()
        >>> model.generate(torch.tensor([[2, 7, 8, 3]]), min_new_tokens=2, max_new_tokens=2).shape
        torch.Size([1, 6])
    """

    config_class = UniLmConfig

    def __init__(self, config: UniLmConfig) -> None:
        check_config(type(self), config)
        super().__init__(config)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, source: str | Path, *args: Any, **kwargs: Any
    ) -> Any:
        """Load a model as every model of transformers is loaded, and learn its special tokens where it knows none.

        Args:
            source: a folder, the name of a model (see ``model_path``), or a repository on the Hub, of a UniLM, or of a
                BERT or WoBERT.
            *args: as for ``PreTrainedModel.from_pretrained``.
            **kwargs: likewise.

        Returns:
            The model; with ``output_loading_info=True`` a pair.

        Raises:
            ValueError: no weight of the encoder is there, since the folder holds a model of another kind.

        Note:
            Warns where the tokenizer does not fit the model.
        """
        with_info = bool(kwargs.pop("output_loading_info", False))
        place = source if source is None else find_model(source, **kwargs)
        found: Any = super().from_pretrained(place, *args, output_loading_info=True, **kwargs)
        model, info = found
        encoder = {name for name, _ in model.named_parameters() if name.startswith(f"{model.base_model_prefix}.")}
        if encoder <= set(info["missing_keys"]):
            raise ValueError(
                f"{source} holds no weights of a BERT or WoBERT; of other encoders make a UniLM by "
                "nlpkit.seq2seq.PrefixLanguageModel, as docs/seq2seq.md says"
            )
        loaded = (model, info) if with_info else model
        if model.generation_config.suppress_tokens is None:
            where = {name: kwargs[name] for name in _WHERE if kwargs.get(name) is not None}
            tokenizer = None
            with suppress(OSError, ValueError, KeyError):  # none there: generate says what to do
                if any(find_file(source, name, **where) for name in _VOCABULARIES):
                    tokenizer = AutoTokenizer.from_pretrained(source, **where)
            try:
                if tokenizer is not None:
                    model.use_tokens_of(tokenizer)
            except ValueError as error:  # the model can still be resized
                warnings.warn(f"{source}: {error}", stacklevel=2)
        return loaded


_NEEDED = {"attention_mask", "token_type_ids", "position_ids", CACHE, "use_cache", "logits_to_keep"}
_WITHOUT_ADDITIVE_MASKS = ("flex", "flash", "paged")
#: Without either, transformers makes a tokenizer of five special tokens up, whose ids are its own.
_VOCABULARIES = ("tokenizer.json", "vocab.txt")
_WHERE = ("revision", "subfolder", "cache_dir", "token", "local_files_only")


def _parameters_below(model_class: type[nn.Module]) -> set[str]:
    """The arguments of ``forward`` of the first class behind the mixin that has one of its own."""
    below = model_class.__mro__[model_class.__mro__.index(PrefixLanguageModel) + 1 :]
    forward = next(vars(kind)["forward"] for kind in below if "forward" in vars(kind))
    return set(inspect.signature(forward).parameters)
