"""A model and its tokenizer with fewer tokens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from nlpkit.files import SAVED_MODEL, whole_folder, write_json
from nlpkit.scale import Engine
from nlpkit.sentencepiece_file import read_sentencepiece
from nlpkit.vocabulary_pruning.expansion import expand_vocabulary
from nlpkit.vocabulary_pruning.id_map import IdMap
from nlpkit.vocabulary_pruning.measuring import largest_difference
from nlpkit.vocabulary_pruning.models.configs import settings_of_model
from nlpkit.vocabulary_pruning.models.new_ids import give_new_ids
from nlpkit.vocabulary_pruning.models.refusals import refuse_model
from nlpkit.vocabulary_pruning.models.rows import gathered, model_with_rows, rows_of, vocabulary_tables
from nlpkit.vocabulary_pruning.planning import Selection, plan
from nlpkit.vocabulary_pruning.report import PruningReport
from nlpkit.vocabulary_pruning.tokenizers.sentencepiece_proto import pruned_sentencepiece


@dataclass(frozen=True)
class PrunedVocabulary:
    """What ``prune_vocabulary`` returns."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    id_map: IdMap
    report: PruningReport
    sentencepiece: bytes | None = None  #: the content of ``spiece.model``, where the tokenizer had such a file

    def save(self, folder: str | Path) -> None:
        """Write the model, its tokenizer, ``id_map.json`` and ``pruning.json``, all of them or nothing.

        Args:
            folder: what Auto classes load then; other files in it stay.
        """
        with whole_folder(folder, replacing=SAVED_MODEL) as draft:
            self.model.save_pretrained(draft)
            save_beside(draft, self.tokenizer, self.id_map, self.report, self.sentencepiece)

    def expand(self, original: PreTrainedModel) -> PreTrainedModel:
        """The model with all rows again: as it is now, and with the rows that were left out from the original.

        Args:
            original: the model before pruning.
        """
        return expand_vocabulary(self.model, original, self.id_map)


def save_beside(
    folder: Path, tokenizer: PreTrainedTokenizerFast, ids: IdMap, report: PruningReport, sentencepiece: bytes | None
) -> None:
    """Write what stands beside a pruned model's weights."""
    tokenizer.save_pretrained(folder)
    ids.save(folder)
    write_json(folder / "pruning.json", report.to_dict())
    if sentencepiece is not None:
        (folder / "spiece.model").write_bytes(sentencepiece)


def prune_vocabulary(
    model: PreTrainedModel,
    tokenizer: Any,
    *,
    corpus: Iterable[str] | None = None,
    keep: Iterable[int] | None = None,
    min_count: int | None = None,
    coverage: float | None = None,
    size: int | None = None,
    multiple_of: int = 8,
    held_out: Iterable[str] | None = None,
    sentencepiece: str | Path | None = None,
    check: bool = True,
    processes: int | Engine = 1,
    show_progress: bool = True,
) -> PrunedVocabulary:
    """Cut a model's vocabulary to the tokens that a corpus needs; on those tokens the model stays what it was.

    Texts whose tokens are all kept are cut as before, and states and logits over kept ids are the old ones. Special
    and added tokens, bytes, digits, what settings and the chat template name, and what kept tokens are made of, are
    kept in any case.

    Source: kexue.fm/archives/8213 for mT5's pieces counted and cut; merges by the proof in ``pruned_bpe``.

    Args:
        model: any model of transformers with one vocabulary; it stays as it is.
        tokenizer: the model's own: Unigram (mT5 by ``nlpkit.mt5.faithful_tokenizer``, T5, XLM-R, mBART), BPE (Qwen,
            Llama 3, GPT-2, RoBERTa) or WordPiece (BERT).
        corpus: texts whose tokens are counted, a stream.
        keep: in place of a corpus, ids to keep, with all that ``complete_tokens`` adds; also rows without a token.
        min_count: keep what occurs so often; 1 where none of the three is given.
        coverage: keep the most frequent tokens until this share of the corpus's tokens is kept, in (0, 1].
        size: keep the most frequent tokens that have room among so many.
        multiple_of: with ``min_count`` or ``coverage``, further tokens are kept until the rows are a multiple of this.
        held_out: texts on which the report tells what is covered.
        sentencepiece: the tokenizer's SentencePiece file, if it has one and a file with fewer pieces is wanted.
        check: run both models on a few kept tokens and compare; takes no other inputs than ids and a mask.
        processes: that count, each on one core; or an engine, such as ``RayData()`` for a corpus of ``TextFiles``.
        show_progress: draw bars for what takes over five seconds.

    Returns:
        The new model, on the same device with the same dtype and mode, its tokenizer, the map of ids and a report.

    Raises:
        TypeError: the model is wrapped, or the tokenizer has no ``tokenizer.json``.
        ValueError: model or tokenizer are of a kind that cannot be pruned (quantised, with adapters, offloaded) or do
            not belong together; the corpus is empty; ``keep`` lacks what must be kept; a number is out of range; or
            the new model answers otherwise than the old one.

    Note:
        Holds both models in memory; ``prune_folder`` holds one file at a time. Dropped tokens cost: their texts are
        spelt with more, smaller tokens. A Unigram text with a dropped piece may be cut otherwise around it, too.

    Example:
        >>> from transformers import BertConfig, BertForMaskedLM, BertTokenizer
        >>> names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"天气好坏雨雪"]
        >>> tokenizer = BertTokenizer(vocab={name: number for number, name in enumerate(names)})
        >>> model = BertForMaskedLM(BertConfig(vocab_size=11, hidden_size=8, num_hidden_layers=1,
        ...                                    num_attention_heads=2, intermediate_size=8))
        >>> pruned = prune_vocabulary(model, tokenizer, corpus=["天气好", "好天气"])
        >>> pruned.tokenizer.tokenize("天气坏"), pruned.model.config.vocab_size
        (['天', '气', '[UNK]'], 8)
    """
    refuse_model(model)
    selection = Selection(corpus, keep, min_count, coverage, size, multiple_of, held_out, processes, show_progress)
    proto = None if sentencepiece is None else read_sentencepiece(sentencepiece)
    planned = plan(tokenizer, settings_of_model(model), rows_of(model), selection)

    tables = vocabulary_tables(type(model), model.config)
    kept = torch.tensor(planned.ids.kept)
    pruned = model_with_rows(model, tables, gathered(kept), len(kept))
    give_new_ids(pruned, planned.ids.new_ids, planned.ids.old_rows, len(kept))
    difference = largest_difference(model, pruned, kept) if check else None
    report = planned.report(_parameters(model, pruned), _bytes(model, pruned), difference)
    names = planned.tokenizer.get_vocab().keys()
    content = None if proto is None else pruned_sentencepiece(proto, names)
    return PrunedVocabulary(pruned, planned.tokenizer, planned.ids, report, content)


def _parameters(*models: PreTrainedModel) -> tuple[int, int]:
    before, after = (sum(weight.numel() for weight in model.parameters()) for model in models)
    return before, after


def _bytes(*models: PreTrainedModel) -> tuple[int, int]:
    def size(weight: Tensor) -> int:
        return weight.numel() * weight.element_size()

    before, after = (sum(map(size, model.parameters())) for model in models)
    return before, after
