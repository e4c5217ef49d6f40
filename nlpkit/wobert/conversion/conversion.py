"""Published BERT, WoBERT and RoFormer checkpoints made into folders that ``from_pretrained`` loads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import reduce
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, RoFormerConfig, RoFormerForMaskedLM, RoFormerModel

from nlpkit.files import SAVED_MODEL, read_json, whole_folder, write_json
from nlpkit.wobert.configuration import WoBertConfig
from nlpkit.wobert.conversion.checkpoint_names import Architecture
from nlpkit.wobert.conversion.checkpoint_source import CheckpointSource, open_checkpoint
from nlpkit.wobert.conversion.plan import name_tensors, plan_conversion
from nlpkit.wobert.conversion.report import ConversionReport, TensorRecord
from nlpkit.wobert.modeling import WoBertForMaskedLM, WoBertModel
from nlpkit.wobert.tokenizing.tokenizer import WoBertTokenizer
from nlpkit.wobert.words.segmenters import Segmenter
from nlpkit.wobert.words.vocabulary_file import read_vocabulary
from nlpkit.wobert.words.word_splitter import Fallback

REPORT_FILE = "conversion.json"

#: Written anew for the converted model; whatever else its configuration knows is taken over from the source's.
_OWN_SETTINGS = {"model_type", "architectures", "transformers_version", "dtype", "torch_dtype", "_name_or_path"}


def convert_checkpoint(
    source: str | PathLike[str],
    destination: str | PathLike[str],
    *,
    architecture: Architecture | None = None,
    vocabulary: str | Path | Mapping[str, int] | None = None,
    fallback: Fallback = "faithful",
    segmenter: str | Segmenter = "rjieba",
    overwrite: bool = False,
) -> ConversionReport:
    """Convert a published checkpoint, key by key, into a model folder with a word tokenizer.

    A BERT becomes a WoBERT; a RoFormer stays transformers' RoFormer, and gets the word tokenizer too. A source with a
    masked-LM head becomes a masked-LM model, without the pooler and the next-sentence head it may have had. One
    without becomes the bare encoder, so that transformers warns of the fresh head of a masked-LM model made of it.

    Source: the names are those of BERT (github.com/google-research/bert), WoBERT and RoFormer
    (github.com/ZhuiyiTechnology), and of transformers' BERT and RoFormer.

    Args:
        source: a TensorFlow checkpoint, as prefix or as folder, with ``bert_config.json`` and ``vocab.txt`` beside it
            (TensorFlow reads it: extra ``convert``); or a transformers folder with ``model.safetensors`` or
            ``pytorch_model.bin``.
        destination: the folder to write: weights (safetensors), configuration, tokenizer and ``conversion.json``.
        architecture: ``"bert"`` or ``"roformer"``; by default what the source says it is. A RoFormer in TensorFlow's
            format does not say.
        vocabulary: vocabulary file, or token to id, in place of the source's own.
        fallback: of the tokenizer; ``"faithful"`` is what published weights were trained with.
        segmenter: of the tokenizer.
        overwrite: replace what an earlier conversion wrote to ``destination``.

    Returns:
        What became of each tensor; also saved as ``conversion.json``.

    Raises:
        ImportError: the source is a TensorFlow checkpoint, and TensorFlow is not installed.
        FileNotFoundError: the weights, their configuration or their vocabulary are missing.
        FileExistsError: ``destination`` is not empty.
        NotADirectoryError: ``destination`` is a file.
        ValueError: a file is damaged; the model is of another kind; a tensor is missing, has the wrong shape, or has
            no place in the model; the vocabulary does not have one token for each word embedding.

    Note:
        Takes some seconds for a model of BERT-base's size, and the memory of two copies. Weights are stored in the
        source's precision; the configuration declares float32, which is what ``from_pretrained`` then gives. Nothing
        is written unless all succeeded.

    Example:
        >>> import tempfile
        >>> from transformers import BertConfig, BertForMaskedLM
        >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "我们", "今天", "不错"]
        >>> sizes = {"hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 4}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     BertForMaskedLM(BertConfig(vocab_size=len(words), **sizes)).save_pretrained(f"{folder}/bert")
        ...     _ = Path(folder, "bert", "vocab.txt").write_text("\\n".join(words), "utf-8")
        ...     report = convert_checkpoint(f"{folder}/bert", f"{folder}/wobert")
        ...     tokenizer = WoBertTokenizer.from_pretrained(f"{folder}/wobert")
        >>> report.model, tokenizer.tokenize("我们今天不错")
        ('WoBertForMaskedLM', ['我们', '今天', '不错'])
    """
    destination = Path(destination)
    _check_destination(destination, overwrite)
    checkpoint = open_checkpoint(Path(source))
    architecture = _architecture(checkpoint, architecture)
    names = name_tensors(checkpoint, architecture)
    embeddings = names.get(f"{architecture}.embeddings.word_embeddings.weight")
    tokenizer = _tokenizer(checkpoint, embeddings, vocabulary, fallback, segmenter)
    settings = {**checkpoint.settings, "pad_token_id": tokenizer.pad_token_id}
    try:
        model, prefix = _empty_model(settings, architecture, names)
    except Exception as error:  # transformers' checks of a configuration have errors of many classes
        raise ValueError(f"no model can be made of the configuration of {checkpoint.path}: {error}") from error
    records = plan_conversion(checkpoint, names, model.state_dict(), architecture, prefix)
    _fill(model, checkpoint, records)
    report = ConversionReport(
        source=str(checkpoint.path),
        source_format=checkpoint.format,
        destination=str(destination),
        model=type(model).__name__,
        dtype=str(model.dtype).removeprefix("torch."),
        parameters=model.num_parameters(),
        tensors=records,
        notes=_notes(checkpoint, model, prefix),
    )
    with whole_folder(destination, replacing=SAVED_MODEL) as draft:
        model.save_pretrained(draft)
        # from_pretrained loads what is declared, and training in float16 diverges, whatever the weights are stored in.
        write_json(draft / "config.json", read_json(draft / "config.json") | {"dtype": "float32"})
        tokenizer.save_pretrained(draft)
        write_json(draft / REPORT_FILE, report.to_dict())
    return report


def _check_destination(destination: Path, overwrite: bool) -> None:
    if destination.is_file():
        raise NotADirectoryError(f"destination {destination} is a file; give a folder")
    if not destination.is_dir() or not any(destination.iterdir()):
        return
    if not overwrite:
        raise FileExistsError(
            f"destination {destination} is not empty; choose another folder, or pass overwrite=True to replace an "
            "earlier conversion"
        )
    if not (destination / REPORT_FILE).is_file():
        # from_pretrained would read strangers' files, such as tokenizer.json, together with ours.
        raise FileExistsError(
            f"destination {destination} is not empty and holds no {REPORT_FILE}: overwrite=True replaces earlier "
            "conversions only; empty it yourself, or choose another folder"
        )


def _architecture(checkpoint: CheckpointSource, asked: Architecture | None) -> Architecture:
    settings, path = checkpoint.settings, checkpoint.path
    stated = settings.get("model_type")
    if asked not in (None, "bert", "roformer"):
        raise ValueError(f"architecture must be 'bert' or 'roformer', not {asked!r}")
    if stated not in (None, "bert", "roformer"):
        raise ValueError(f"source {path} is a {stated!r} model; only 'bert' and 'roformer' can be converted")
    if settings.get("use_relative_position") or settings.get("position_embedding_type", "absolute") != "absolute":
        raise ValueError(
            f"source {path} has relative positions, as NEZHA has; transformers has no such BERT, so that only those "
            "with absolute positions and RoFormers can be converted"
        )
    if asked and stated and asked != stated:
        raise ValueError(f"architecture={asked!r} was asked for, but source {path} says that it is a {stated!r}")
    architecture: Architecture | None = asked or stated
    if architecture is not None:
        return architecture
    if any(re.search(r"embeddings[/.]position_embeddings", name) for name in checkpoint.tensors):
        return "bert"
    raise ValueError(
        f"source {path} has no position embeddings: it is a RoFormer, or else a NEZHA, whose tensors have the same "
        "names and which cannot be converted; if you know it for a RoFormer, pass architecture='roformer'"
    )


def _tokenizer(
    checkpoint: CheckpointSource,
    embeddings: str | None,
    given: str | Path | Mapping[str, int] | None,
    fallback: Fallback,
    segmenter: str | Segmenter,
) -> WoBertTokenizer:
    if embeddings is None:
        raise ValueError(
            f"source {checkpoint.path} has no word embeddings under any name of BERT's; it is another kind of model, "
            "or was saved by a program with names of its own"
        )
    if given is None:
        vocabulary = checkpoint.vocabulary()
    else:
        vocabulary = dict(given) if isinstance(given, Mapping) else read_vocabulary(given)
    rows = checkpoint.tensors[embeddings].shape[0]
    if rows != len(vocabulary):
        raise ValueError(
            f"the vocabulary has {len(vocabulary)} tokens, but {embeddings!r} has {rows} rows; give the vocabulary "
            "that these weights were trained with as vocabulary=..."
        )
    return WoBertTokenizer(
        vocabulary,
        fallback=fallback,
        segmenter=segmenter,
        model_max_length=checkpoint.settings.get("max_position_embeddings", 512),
        **checkpoint.tokenizer_settings(),
    )


def _empty_model(
    settings: Mapping[str, Any], architecture: Architecture, names: Mapping[str, str]
) -> tuple[PreTrainedModel, str]:
    """The model to fill, and what a full name of transformers has before the model's own name of a tensor."""
    has_head = any(name.startswith("cls.predictions.") for name in names)
    if architecture == "roformer":
        rotary = RoFormerConfig(**_known(settings, RoFormerConfig))
        return (RoFormerForMaskedLM(rotary), "") if has_head else (RoFormerModel(rotary), "roformer.")
    config = WoBertConfig(**_known(settings, WoBertConfig))
    if has_head:
        return WoBertForMaskedLM(config), ""
    return WoBertModel(config, add_pooling_layer="bert.pooler.dense.weight" in names), "bert."


def _known(settings: Mapping[str, Any], config_class: type[WoBertConfig | RoFormerConfig]) -> dict[str, Any]:
    known = config_class().to_dict().keys() - _OWN_SETTINGS
    return {name: value for name, value in settings.items() if name in known}


def _fill(model: PreTrainedModel, checkpoint: CheckpointSource, records: Sequence[TensorRecord]) -> None:
    """Give the model the source's numbers, in the source's precision."""
    tensors: dict[str, Tensor] = {}
    tied: dict[str, Tensor] = {}
    for record in records:
        if record.source is None or record.target is None:
            continue
        tensor = checkpoint.tensors[record.source]
        if not tensor.is_floating_point():
            raise ValueError(
                f"source tensor {record.source!r} is {tensor.dtype}; quantised weights cannot be converted"
            )
        destination = tied if record.fate == "tied" else tensors
        destination[record.target] = tensor.T if record.fate == "transposed" else tensor
    precision = reduce(torch.promote_types, {tensor.dtype for tensor in tensors.values()})
    model.to(dtype=precision)  # type: ignore[call-arg]  # transformers' decorator hides the signature
    model.load_state_dict(tensors, strict=False)  # what is not among them is tied or computed: the plan has seen to it
    state = model.state_dict()
    for name, tensor in tied.items():
        if not torch.equal(state[name], tensor.to(precision)):
            raise ValueError(
                f"source {checkpoint.path} holds numbers for {name!r} that differ from those it is tied to; if that "
                'is meant, write "tie_word_embeddings": false into its configuration'
            )


def _notes(checkpoint: CheckpointSource, model: PreTrainedModel, prefix: str) -> list[str]:
    notes = []
    if prefix:
        notes.append(
            "the source has no masked-LM head: a masked-LM model made of this encoder starts with a fresh one"
        )
    unused = sorted(checkpoint.settings.keys() - model.config.to_dict().keys() - _OWN_SETTINGS)
    if unused:
        notes.append(f"not used of the source's configuration: {', '.join(unused)}")
    return notes
