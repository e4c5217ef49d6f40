"""A model's folder with fewer tokens, written file by file, so that models larger than memory pass."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedConfig, PreTrainedModel

from nlpkit.files import SAVED_MODEL, read_json, whole_folder, write_json
from nlpkit.scale import Engine
from nlpkit.sentencepiece_file import read_sentencepiece, sentencepiece_of
from nlpkit.sources import find_folder
from nlpkit.vocabulary_pruning.models.configs import with_new_ids
from nlpkit.vocabulary_pruning.models.rows import weights_and_tables
from nlpkit.vocabulary_pruning.models.shards import weight_files, write_with_rows
from nlpkit.vocabulary_pruning.planning import Selection, plan
from nlpkit.vocabulary_pruning.prune import save_beside
from nlpkit.vocabulary_pruning.report import PruningReport
from nlpkit.vocabulary_pruning.tokenizers.sentencepiece_proto import pruned_sentencepiece

_SETTINGS = ("config.json", "generation_config.json")


def prune_folder(
    source: str | Path,
    destination: str | Path,
    *,
    tokenizer: Any = None,
    corpus: Iterable[str] | None = None,
    keep: Iterable[int] | None = None,
    min_count: int | None = None,
    coverage: float | None = None,
    size: int | None = None,
    multiple_of: int = 8,
    held_out: Iterable[str] | None = None,
    processes: int | Engine = 1,
    show_progress: bool = True,
) -> PruningReport:
    """Cut the vocabulary of a saved model, as ``prune_vocabulary`` does, without loading the model.

    Args:
        source: folder with ``config.json``, a tokenizer and safetensors, a shipped model's name, or a repository on
            the Hub.
        destination: folder to write, whole or not at all: what Auto classes load then, with ``id_map.json``,
            ``pruning.json``, and a SentencePiece file where the source has one.
        tokenizer: in place of the folder's own, for mT5 what ``nlpkit.mt5.faithful_tokenizer`` makes.
        corpus: as for ``prune_vocabulary``; so are the others.
        keep: in place of a corpus.
        min_count: least count.
        coverage: share of the corpus's tokens.
        size: most tokens.
        multiple_of: of rows.
        held_out: texts for the report.
        processes: that count, or an engine.
        show_progress: draw bars.

    Returns:
        The report, without a comparison of answers, since the model is not run.

    Raises:
        FileNotFoundError: the source or one of its files is missing.
        FileExistsError: the destination is the source.
        ValueError: as of ``prune_vocabulary``; or the folder holds adapters, or quantised weights.

    Note:
        Memory: the largest file of weights, twice. Nothing in the source is changed.
    """
    folder = find_folder(source)
    if Path(destination).resolve() == folder.resolve():
        raise FileExistsError(f"{destination} is the source itself; give another folder")
    if (folder / "adapter_config.json").is_file():
        raise ValueError(f"{source} holds an adapter, which was trained on the old ids; merge it into its model first")
    files = {name: read_json(folder / name) for name in _SETTINGS if (folder / name).is_file()}
    if "config.json" not in files:
        raise FileNotFoundError(f"{source} holds no config.json; give the folder of a transformers model")
    if "quantization_config" in files["config.json"]:
        raise ValueError(f"{source} is quantised; prune the model that it was made from, then quantise that")
    weight_files(folder)
    config = AutoConfig.from_pretrained(folder)
    rows = config.get_text_config().vocab_size
    selection = Selection(corpus, keep, min_count, coverage, size, multiple_of, held_out, processes, show_progress)
    tables = weights_and_tables(_model_class(config), config)
    if tokenizer is None:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    planned = plan(tokenizer, [config.to_dict(), *files.values()], rows, selection)
    proto = sentencepiece_of(folder)
    with whole_folder(destination, replacing=SAVED_MODEL) as draft:
        sizes = write_with_rows(folder, draft, tables, torch.tensor(planned.ids.kept), rows)
        report = planned.report(sizes.parameters, sizes.size, None)
        for name, settings in files.items():
            write_json(draft / name, with_new_ids(settings, planned.ids.new_ids, rows, len(planned.ids.kept)))
        names = planned.tokenizer.get_vocab().keys()
        content = None if proto is None else pruned_sentencepiece(read_sentencepiece(proto), names)
        save_beside(draft, planned.tokenizer, planned.ids, report, content)
    return report


def _model_class(config: PreTrainedConfig) -> type[PreTrainedModel]:
    """The class that the settings name, whose weights the folder holds."""
    for name in config.architectures or ():
        found = getattr(transformers, name, None)
        if isinstance(found, type) and issubclass(found, PreTrainedModel):
            return found
    with torch.device("meta"):
        return type(AutoModel.from_config(config))
