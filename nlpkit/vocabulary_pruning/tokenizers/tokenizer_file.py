"""``tokenizer.json`` with fewer tokens, whatever its model: ids ascend as before, and all that names ids follows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer

from nlpkit.vocabulary_pruning.tokenizers.byte_level_bpe import ancestors, needed_for_bpe, pruned_bpe, refuse_other_bpe
from nlpkit.vocabulary_pruning.tokenizers.unigram import needed_for_unigram, pieces_of_unigram, pruned_unigram
from nlpkit.vocabulary_pruning.tokenizers.word_piece import (
    needed_for_word_piece,
    pieces_of_word_piece,
    pruned_word_piece,
)

_KINDS = ("Unigram", "BPE", "WordPiece")
_DIGITS = "0123456789"
_PROBE = "今天天气很好, the weather is fine: 12°C"


def read_tokenizer(tokenizer: Any) -> dict[str, Any]:
    """The content of a tokenizer's ``tokenizer.json``.

    Args:
        tokenizer: of transformers.

    Raises:
        TypeError: the tokenizer is written in Python, so that there is no such file, or not one that it keeps to.
        ValueError: its model is none of Unigram, BPE and WordPiece, or a BPE with prefixes, suffixes or dropout.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise TypeError(
            f"{type(tokenizer).__name__} has no tokenizer.json, which is what is pruned; load a tokenizer of "
            "transformers that stands on the tokenizers library"
        )
    content: dict[str, Any] = json.loads(backend.to_str())
    kind = content["model"].get("type")
    if kind not in _KINDS:
        raise ValueError(f"the tokenizer's model is {kind}; only {', '.join(_KINDS)} can be pruned")
    if kind == "BPE":
        refuse_other_bpe(content["model"])
    seen = tokenizer(_PROBE, add_special_tokens=False)["input_ids"]
    if seen != plain_backend(content).encode(_PROBE, add_special_tokens=False).ids:
        raise TypeError(
            f"{type(tokenizer).__name__} cuts texts otherwise than its tokenizer.json, so that pruning that would not "
            "do; build a smaller vocabulary instead (for WoBERT: nlpkit.build_vocabulary and nlpkit.wordify)"
        )
    return content


def plain_backend(content: Mapping[str, Any]) -> Tokenizer:
    """What a ``tokenizer.json`` describes, without the truncation and padding that an earlier call left there."""
    return Tokenizer.from_str(json.dumps({**content, "truncation": None, "padding": None}))


def token_names(content: Mapping[str, Any]) -> dict[int, str]:
    """All tokens of a ``tokenizer.json`` by their ids, added ones included, ascending."""
    vocabulary = content["model"]["vocab"]
    if isinstance(vocabulary, list):
        names = {number: piece for number, (piece, _) in enumerate(vocabulary)}
    else:
        names = {number: token for token, number in vocabulary.items()}
    names |= {token["id"]: token["content"] for token in content["added_tokens"]}
    return dict(sorted(names.items()))


def needed_tokens(content: Mapping[str, Any]) -> set[int]:
    """Ids that a tokenizer cannot go without: added tokens, what its model and post-processor name, bytes, digits."""
    model, names = content["model"], token_names(content)
    needed = {token["id"] for token in content["added_tokens"]}
    needed |= set(_post_processor_ids(content.get("post_processor")))
    if content.get("padding"):
        needed.add(content["padding"]["pad_id"])
    digits = {mark + digit for digit in _DIGITS for mark in ("", "▁", "##", "Ġ")} | {"▁"}
    needed |= {number for number, name in names.items() if name in digits}
    if model["type"] == "Unigram":
        return needed | needed_for_unigram(model)
    return needed | (needed_for_bpe(content) if model["type"] == "BPE" else needed_for_word_piece(model))


def needs_of_tokens(content: Mapping[str, Any]) -> Callable[[int], Iterable[int]]:
    """A function that gives, for an id, the ids that must be kept or had better be kept with it.

    For BPE what is made on the way to a token, without which it is not reached; else the characters that spell it.
    """
    model = content["model"]
    if model["type"] == "BPE":
        return ancestors(model)
    of_piece = pieces_of_unigram(model) if model["type"] == "Unigram" else pieces_of_word_piece(model)
    own = range(len(model["vocab"])) if model["type"] == "Unigram" else set(model["vocab"].values())
    return lambda number: of_piece(number) if number in own else ()


def pruned_content(content: Mapping[str, Any], kept: Sequence[int]) -> dict[str, Any]:
    """A ``tokenizer.json`` with some of its tokens.

    Args:
        content: as ``read_tokenizer`` gives it.
        kept: ids, ascending; those without a token, as of rows that a model has in store, at the end.

    Returns:
        The new content: the first kept id is 0, and so on.

    Raises:
        ValueError: an id that the tokenizer cannot go without is not kept.
    """
    new_ids = {old: new for new, old in enumerate(kept)}
    names, model = token_names(content), content["model"]
    missing = sorted(needed_tokens(content) - new_ids.keys())
    if missing:
        some = ", ".join(f"{names[number]!r} ({number})" for number in missing[:5])
        raise ValueError(
            f"keep lacks {len(missing)} tokens that the tokenizer cannot go without (special and added tokens, bytes, "
            f"digits): {some}; complete_tokens adds them"
        )
    pruned: Mapping[str, Callable[..., dict[str, Any]]]
    pruned = {"Unigram": pruned_unigram, "BPE": pruned_bpe, "WordPiece": pruned_word_piece}
    padding = content.get("padding")
    return {
        **content,
        "added_tokens": [{**token, "id": new_ids[token["id"]]} for token in content["added_tokens"]],
        "post_processor": _with_new_ids(content.get("post_processor"), new_ids),
        "padding": padding and {**padding, "pad_id": new_ids[padding["pad_id"]]},
        "model": pruned[model["type"]](model, {old: new for old, new in new_ids.items() if old in names}),
    }


def _steps(processor: Mapping[str, Any] | None) -> Iterable[Mapping[str, Any]]:
    return [] if processor is None else processor.get("processors", [processor])


def _post_processor_ids(processor: Mapping[str, Any] | None) -> Iterable[int]:
    for step in _steps(processor):
        if step["type"] == "TemplateProcessing":
            yield from (number for token in step["special_tokens"].values() for number in token["ids"])
        elif step["type"] in ("BertProcessing", "RobertaProcessing"):
            yield from (step["sep"][1], step["cls"][1])


def _with_new_ids(processor: Mapping[str, Any] | None, new_ids: Mapping[int, int]) -> dict[str, Any] | None:
    if processor is None:
        return None
    if "processors" in processor:
        return {**processor, "processors": [_with_new_ids(step, new_ids) for step in processor["processors"]]}
    if processor["type"] == "TemplateProcessing":
        tokens = processor["special_tokens"]
        remapped = {name: {**token, "ids": [new_ids[n] for n in token["ids"]]} for name, token in tokens.items()}
        return {**processor, "special_tokens": remapped}
    if processor["type"] in ("BertProcessing", "RobertaProcessing"):
        pairs = {name: [processor[name][0], new_ids[processor[name][1]]] for name in ("sep", "cls")}
        return {**processor, **pairs}
    return dict(processor)
