"""A model's folder with fewer tokens, written file by file, so that models larger than memory pass."""

from __future__ import annotations

import copy
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
from nlpkit.vocabulary_pruning.id_map import IdMap
from nlpkit.vocabulary_pruning.models.configs import set_new_ids, with_new_ids
from nlpkit.vocabulary_pruning.models.file_names import names_in_class
from nlpkit.vocabulary_pruning.models.padding import followers_of_padding, moved_positions
from nlpkit.vocabulary_pruning.models.rows import refuse_misfits, weights_and_tables, without_weights
from nlpkit.vocabulary_pruning.models.shards import Rows, shapes_of_files, write_with_rows
from nlpkit.vocabulary_pruning.planning import Selection, completed, plan
from nlpkit.vocabulary_pruning.prune import save_beside
from nlpkit.vocabulary_pruning.report import PruningReport
from nlpkit.vocabulary_pruning.tokenizers.sentencepiece_proto import pruned_sentencepiece
from nlpkit.vocabulary_pruning.tokenizers.tokenizer_file import read_tokenizer

_SETTINGS = ("config.json", "generation_config.json")


def prune_folder(
    source: str | Path,
    destination: str | Path,
    *,
    tokenizer: Any = None,
    corpus: Iterable[str] | None = None,
    keep: Iterable[int] | None = None,
    complete: bool = False,
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
        complete: add to ``keep`` what the model cannot go without, as ``complete_tokens`` does.
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
    config = AutoConfig.from_pretrained(folder)
    rows = config.get_text_config().vocab_size
    if tokenizer is None:
        if (folder / "tokenizer.json").is_file():
            read_json(folder / "tokenizer.json")  # names the file where it is damaged
        tokenizer = AutoTokenizer.from_pretrained(folder)
    read_tokenizer(tokenizer)  # refuses one that cannot be pruned, before the weights are looked at
    weights = _Weights(folder, config, rows)
    if complete and keep is not None:
        keep = completed(tokenizer, [config.to_dict(), *files.values()], rows, keep)
    selection = Selection(corpus, keep, min_count, coverage, size, multiple_of, held_out, processes, show_progress)
    planned = plan(tokenizer, [config.to_dict(), *files.values()], rows, selection)
    proto = sentencepiece_of(folder)
    with whole_folder(destination, replacing=SAVED_MODEL) as draft:
        sizes = write_with_rows(folder, draft, weights.taken(planned.ids))
        report = planned.report(sizes.parameters, sizes.size, None)
        for name, settings in files.items():
            write_json(draft / name, with_new_ids(settings, planned.ids.new_ids, rows, len(planned.ids.kept)))
        names = planned.tokenizer.get_vocab().keys()
        content = None if proto is None else pruned_sentencepiece(read_sentencepiece(proto), names)
        save_beside(draft, planned.tokenizer, planned.ids, report, content)
    return report


class _Weights:
    """The weights in a model's folder, and what its class makes of them."""

    def __init__(self, folder: Path, config: PreTrainedConfig, rows: int) -> None:
        self.config, self.rows, self.shapes = config, rows, shapes_of_files(folder)
        self.model_class = _model_class(config)
        tables = weights_and_tables(self.model_class, config)
        in_class = names_in_class(without_weights(self.model_class, config))
        self.names = {name: in_class(name) for name in self.shapes}
        self.tables: dict[str, int] = {}
        for name, shape in self.shapes.items():
            known = self.names[name]
            dimension = None if known is None else tables[known]
            if dimension is not None and len(shape) > dimension and shape[dimension] == rows:
                self.tables[name] = dimension
            elif dimension is not None or (known is None and rows in shape):
                raise ValueError(
                    f"{folder} holds {name} of shape {shape}, of which it is not known whether its rows are the "
                    f"{rows} tokens; load the model and give it to prune_vocabulary"
                )

    def taken(self, ids: IdMap) -> dict[str, Rows]:
        """Which rows are taken of weights that are not copied whole.

        Raises:
            ValueError: the class would not load them with the new settings, or padding cannot be moved.
        """
        kept = torch.tensor(ids.kept)
        found = {name: Rows(dimension, kept) for name, dimension in self.tables.items()}
        config = copy.deepcopy(self.config)
        set_new_ids(config, ids.new_ids, self.rows, len(kept))
        shapes = {known: list(self.shapes[name]) for name, known in self.names.items() if known is not None}
        for name, (dimension, _) in found.items():
            shapes[self.names[name]][dimension] = len(kept)  # type: ignore[index]
        old, new = (one.get_text_config().pad_token_id for one in (self.config, config))
        if old != new:
            positions = followers_of_padding(self.model_class, config, old, new).positions
            moved = [name for name, known in self.names.items() if known in positions]
            found |= {name: Rows(0, moved_positions(self.shapes[name][0], old, new)) for name in moved}
        refuse_misfits(shapes, self.model_class, config)
        return found


def _model_class(config: PreTrainedConfig) -> type[PreTrainedModel]:
    """The class that the settings name, whose weights the folder holds."""
    for name in config.architectures or ():
        found = getattr(transformers, name, None)
        if isinstance(found, type) and issubclass(found, PreTrainedModel):
            return found
    with torch.device("meta"):
        return type(AutoModel.from_config(config))
