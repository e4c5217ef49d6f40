"""What classifiers without a cloze are made with: a head on an encoder, and texts or pairs as token ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from nlpkit.files import read_json
from nlpkit.pet.clozes.cloze import warn_of_cuts
from nlpkit.pet.head_check import lengths_for_padding, refuse_no_start_of_decoder, refuse_reading_padding
from nlpkit.pet.lost_weights import refuse_missing_weights
from nlpkit.pet.saving import SETTINGS_FILE, brings_its_head, load_in_fp32
from nlpkit.pretrained import open_tokenizer
from nlpkit.probes.room import padded_length
from nlpkit.sources import find_file, find_model


def load_with_head(
    source: str | Path, hub: Mapping[str, Any], **config: Any
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """An encoder with a classification head, which is new where the source has none, and its tokenizer.

    Args:
        source: a folder, the name of a shipped model, or a repository on the Hub.
        hub: how to find a repository.
        **config: ``num_labels`` and other settings of the model, but for a ladder, which keeps its own;
            ``ignore_mismatched_sizes=True`` puts a new head in the place of one of other outputs.

    Raises:
        FileNotFoundError: there is no such model.
        ValueError: its weights are damaged, or lacking where a classifier was saved; or it has a head of other
            outputs, or of the same in another order.
    """
    found = find_model(source, **hub)
    if brings_its_head(found, hub):
        model = load_in_fp32(AutoModelForSequenceClassification, found, hub)
        _refuse_another_order(found, model.config.id2label, config)
        return model, open_tokenizer(found, **hub)
    file = find_file(found, "config.json", **hub)
    _refuse_another_order(found, {} if file is None else read_json(file).get("id2label") or {}, config)
    given = {"ignore_mismatched_sizes": True, "output_loading_info": True} | config
    model, report = load_in_fp32(AutoModelForSequenceClassification, found, hub, **given)
    if report["mismatched_keys"] and not config.get("ignore_mismatched_sizes"):
        name, saved, wanted = min(report["mismatched_keys"])
        raise ValueError(
            f"{found} has a head already, for another number of outputs than {config['num_labels']}: {name} is "
            f"{tuple(saved)} there, and would be {tuple(wanted)}; ask for what it was trained on, or give "
            "ignore_mismatched_sizes=True for a new head"
        )
    if find_file(found, SETTINGS_FILE, **hub) is not None:
        refuse_missing_weights(found, report["missing_keys"])
    return model, open_tokenizer(found, **hub)


def _refuse_another_order(source: str, saved: Mapping[Any, str], config: Mapping[str, Any]) -> None:
    """Refuse labels that a head has in another order: its rows would answer for one another."""
    names = [saved[number] for number in sorted(saved, key=int)]
    wanted = list(config.get("id2label", {}).values())
    if names != wanted and sorted(names) == sorted(wanted):
        raise ValueError(
            f"{source} has a head for the labels {names}, in this order; got {wanted}: give them as they are there"
        )


def refuse_padding_in_heads(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a model with a head that reads padding; see ``refuse_reading_padding``.

    Raises:
        ValueError: it does, or its config does not say with what its decoder begins.
    """
    refuse_no_start_of_decoder(model)
    for length in lengths_for_padding(model, tokenizer):
        row = tokenizer("a " * length, truncation=True, max_length=length, return_tensors="pt")["input_ids"]
        refuse_reading_padding(model, tokenizer, {"input_ids": row}, lambda inputs: model(**inputs).logits)


def encode_texts(
    tokenizer: PreTrainedTokenizerBase, rows: Sequence[Sequence[str]], max_length: int
) -> dict[str, Tensor]:
    """Token ids of texts or pairs of texts, padded to the longest and cut to ``max_length``.

    Args:
        tokenizer: of the model.
        rows: each of one text or two.
        max_length: tokens.

    Returns:
        What the tokenizer gives, ``(rows, length)`` each. Special tokens written in a text are read as plain text.
    """
    columns = map(list, zip(*rows, strict=True))
    plain = {"split_special_tokens": True, "verbose": False}
    encoding = tokenizer(*columns, truncation=True, max_length=max_length, **plain)
    longest = max(map(len, encoding["input_ids"]))
    full = [row for row, ids in zip(rows, encoding["input_ids"], strict=True) if len(ids) == max_length]
    if any(len(tokenizer(*row, **plain)["input_ids"]) > max_length for row in full):
        warn_of_cuts(max_length)
    length = padded_length(longest, max_length)
    return dict(tokenizer.pad(encoding, padding="max_length", max_length=length, return_tensors="pt", verbose=False))
