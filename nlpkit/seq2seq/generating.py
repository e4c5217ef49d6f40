"""Texts to texts: what a UniLM or an encoder-decoder writes, batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor
from transformers import BatchEncoding, BertTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from nlpkit.batches import batches_by_length
from nlpkit.checked_number import checked_number
from nlpkit.modes import evaluating
from nlpkit.one_text import refuse_one_text
from nlpkit.probes.room import room_for_tokens
from nlpkit.seq2seq.collator import UniLmCollator
from nlpkit.seq2seq.modeling import PrefixLanguageModel
from nlpkit.seq2seq.pair_encoding import Overlong
from nlpkit.training.task_loss.stock_losses import with_head
from nlpkit.wobert.tokenizing.detokenization import detokenize


def generate_texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Iterable[str],
    *,
    max_new_tokens: int | None = None,
    num_beams: int | None = None,
    max_source_length: int | None = None,
    overlong: Overlong = "refuse",
    batch_size: int = 16,
    show_progress: bool = False,
    **generation: Any,
) -> list[str]:
    """Write a text for each one: its title, its summary, its translation, or whatever the model was trained to.

    Args:
        model: a ``UniLmForSequenceToSequence``, or an encoder-decoder such as T5 or BART, within PEFT's wrapper or
            not; it is left in the mode (training or not) it was in.
        tokenizer: the one it was trained with.
        texts: the sources; for a blank one, ``""`` is written.
        max_new_tokens: of a target, its end included; by default what ``generation_config`` says, the one given here
            or the model's own, and 64 where it says nothing.
        num_beams: 1 takes the best token each time; by default likewise, and 1.
        max_source_length: tokens of a source, special ones included; ``None`` means what there is room for.
        overlong: ``"refuse"`` longer sources, or ``"truncate"`` them: their ends are dropped.
        batch_size: sources per batch; they are batched by length.
        show_progress: draw a progress bar.
        **generation: further settings of ``generate``, such as ``do_sample=True`` or ``length_penalty``.

    Returns:
        The texts, in the order of the sources.

    Raises:
        TypeError: the model is neither of the two, or a text is no string.
        ValueError: a source or a target is too long, the tokenizer has tokens that the model lacks, or a setting of
            ``generate`` is unknown or does not make one text per source.

    Example:
        >>> from nlpkit import UniLmConfig, UniLmForSequenceToSequence, WoBertTokenizer
        >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "天气", "很", "好"]
        >>> tokenizer = WoBertTokenizer({word: number for number, word in enumerate(words)})
        >>> model = UniLmForSequenceToSequence(UniLmConfig(
        ...     vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8))
        >>> model.use_tokens_of(tokenizer)
        >>> len(generate_texts(model, tokenizer, ["天气很好", ""], max_new_tokens=5))
        2
    """
    refuse_one_text("texts", texts)
    _refuse_silent(model)
    for name, usual in (("num_return_sequences", 1), ("return_dict_in_generate", False)):
        if generation.get(name, usual) != usual:
            raise ValueError(f"{name} must be {usual}, since each source gets one text; call model.generate for more")
    settings = {**generation, **_lengths(model, max_new_tokens, generation)}
    if num_beams is not None:
        settings["num_beams"] = checked_number("num_beams", num_beams, least=1, whole=True)
    encode = _encoder(model, tokenizer, settings.get("max_new_tokens"), max_source_length, overlong)
    texts = list(texts)
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"text {number} must be a string, not {type(text).__name__}: {text!r}")
    written = [""] * len(texts)
    written_to = [number for number, text in enumerate(texts) if text.strip()]
    lengths = [len(texts[number]) for number in written_to]
    with evaluating(model):
        for places in batches_by_length(lengths, batch_size, "writing", show_progress=show_progress):
            chosen = [written_to[place] for place in places]
            batch = encode([texts[number] for number in chosen]).to(model.device)
            _refuse_unknown_tokens(batch["input_ids"], model)
            ids = model.generate(**batch, **settings)  # type: ignore[operator]
            read = 0 if model.config.is_encoder_decoder else batch["input_ids"].shape[1]
            for number, row in zip(chosen, ids[:, read:], strict=True):
                written[number] = decode_written(row, tokenizer)
    return written


def _lengths(model: PreTrainedModel, max_new_tokens: int | None, generation: Mapping[str, Any]) -> dict[str, int]:
    """How long targets may be, where ``generate`` is to be told."""
    if max_new_tokens is not None:
        return {"max_new_tokens": checked_number("max_new_tokens", max_new_tokens, least=1, whole=True)}
    saying = generation.get("generation_config") or model.generation_config
    if saying.max_new_tokens is not None:
        return {"max_new_tokens": saying.max_new_tokens}
    if generation.get("max_length") is None and saying.max_length is None:
        return {"max_new_tokens": 64}
    if not model.config.is_encoder_decoder:
        raise ValueError("max_length counts the source, too, of which there are several; give max_new_tokens")
    return {}


def _refuse_unknown_tokens(ids: Tensor, model: PreTrainedModel) -> None:
    embedding: Any = model.get_input_embeddings()
    rows = embedding.weight.shape[0]
    if ids.max() >= rows:
        raise ValueError(f"the tokenizer has token {int(ids.max())}, the model {rows} rows; give the model's own")


def decode_written(ids: Tensor | Sequence[int], tokenizer: PreTrainedTokenizerBase) -> str:
    """The text of generated tokens, without special ones, and for BERT's without spaces between Chinese characters.

    Args:
        ids: tokens of one text; -100, as labels have it, is passed over.
        tokenizer: theirs.

    Example:
        >>> import torch
        >>> tokenizer = BertTokenizer({token: number for number, token in enumerate(["[PAD]", "[UNK]", "天", "气"])})
        >>> decode_written(torch.tensor([2, 3, 0, -100]), tokenizer)
        '天气'
    """
    numbers = [int(number) for number in ids if number != -100]
    if isinstance(tokenizer, BertTokenizer):
        return detokenize(tokenizer.convert_ids_to_tokens(numbers, skip_special_tokens=True))
    text = tokenizer.decode(numbers, skip_special_tokens=True)
    return text if isinstance(text, str) else "".join(text)


def _refuse_silent(model: PreTrainedModel) -> None:
    """See that a model writes one text for another."""
    if not (isinstance(with_head(model), PrefixLanguageModel) or model.config.is_encoder_decoder):
        raise TypeError(
            f"{type(model).__name__} is neither a UniLM nor an encoder-decoder; train a UniLmForSequenceToSequence, "
            "or give a T5, mT5 or BART"
        )


def _encoder(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    max_new_tokens: int | None,
    max_source_length: int | None,
    overlong: Overlong,
) -> Any:
    """What makes inputs of ``generate`` out of sources."""
    room = room_for_tokens(model, tokenizer)
    if isinstance(with_head(model), PrefixLanguageModel):
        assert max_new_tokens is not None
        written = max(2, max_new_tokens)
        left = None if room is None else room - written
        length = min((n for n in (max_source_length, left) if n is not None), default=None)
        if length is not None and length < 3:
            raise ValueError(
                f"max_new_tokens={max_new_tokens} leaves {left} of the model's {room} positions for a source; give a "
                "smaller one"
            )
        collator = UniLmCollator(tokenizer, max_source_length=length, max_target_length=written, overlong=overlong)
        return lambda texts: collator([{"source": text} for text in texts])
    positions = room_for_tokens(model)
    if max_new_tokens is not None and positions is not None and max_new_tokens > positions:
        raise ValueError(f"max_new_tokens={max_new_tokens} is over the model's {positions} positions; give fewer")

    def encode(texts: Sequence[str]) -> BatchEncoding:
        length = max_source_length or room
        encoded = tokenizer(list(texts), return_token_type_ids=False, verbose=False)
        longest = max(map(len, encoded["input_ids"]))
        if length is not None and longest > length:
            if overlong == "refuse":
                raise ValueError(
                    f"a source has {longest} tokens, and {length} are the most; shorten it, or drop its end with "
                    "overlong='truncate'"
                )
            encoded = tokenizer(list(texts), return_token_type_ids=False, truncation=True, max_length=length)
        return tokenizer.pad(encoded, return_tensors="pt")

    return encode
