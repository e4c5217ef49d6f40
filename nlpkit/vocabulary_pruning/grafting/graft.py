"""A model with another tokenizer: kept rows where a token is the same, new ones made of old ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from nlpkit.files import SAVED_MODEL, whole_folder, write_json
from nlpkit.vocabulary_pruning.grafting.spellings import stand_ins
from nlpkit.vocabulary_pruning.models.configs import named_ids, settings_of_model
from nlpkit.vocabulary_pruning.models.new_ids import give_new_ids
from nlpkit.vocabulary_pruning.models.refusals import refuse_model, refuse_sizes
from nlpkit.vocabulary_pruning.models.rows import model_with_rows, rows_of, vocabulary_tables
from nlpkit.wobert.wordifying.embedding_surgery import mean_rows
from nlpkit.wobert.wordifying.matching_pursuit import Combinations, orthogonal_matching_pursuit

_AT_ONCE = 512


@dataclass(frozen=True)
class GraftReport:
    """Where the rows of a grafted model come from.

    Args:
        kept: tokens that the old tokenizer has, too.
        averaged: the mean of the old tokens that spell them.
        from_donor: combinations of kept tokens, found in the donor.
        unknown: what the old tokenizer cannot spell, with its unknown token's row.

    Example:
        >>> print(GraftReport(30, 8, 5, 1))
        rows         30 kept, 8 means of old ones, 5 combined as in the donor, 1 unknown
    """

    kept: int
    averaged: int
    from_donor: int
    unknown: int

    def __str__(self) -> str:
        origins = f"{self.averaged:,} means of old ones, {self.from_donor:,} combined as in the donor"
        return f"rows         {self.kept:,} kept, {origins}, {self.unknown:,} unknown"


@dataclass(frozen=True)
class GraftedVocabulary:
    """What ``graft_vocabulary`` returns."""

    model: PreTrainedModel
    tokenizer: Any
    report: GraftReport

    def save(self, folder: str | Path) -> None:
        """Write the model and its new tokenizer, and ``grafting.json``, all of them or nothing."""
        with whole_folder(folder, replacing=SAVED_MODEL) as draft:
            self.model.save_pretrained(draft)
            self.tokenizer.save_pretrained(draft)
            write_json(draft / "grafting.json", asdict(self.report))


def graft_vocabulary(
    model: PreTrainedModel,
    tokenizer: Any,
    new_tokenizer: Any,
    *,
    donor: PreTrainedModel | None = None,
    sparsity: int = 64,
    show_progress: bool = True,
) -> GraftedVocabulary:
    """Give a model another tokenizer, to be trained on.

    A token that spells what one of the old tokenizer does keeps its row; others begin at the mean of the rows of the
    tokens that the old tokenizer cuts them to, or, with a donor, as a combination of kept tokens.

    Source: T5-PEGASUS (kexue.fm/archives/8209) for means; arXiv 2506.06607 for combinations.

    Args:
        model: any that ``prune_vocabulary`` takes; it stays as it is.
        tokenizer: the model's own.
        new_tokenizer: of transformers, or a ``WoBertTokenizer``.
        donor: a model that has the new tokenizer already: what is not kept is written as a combination of kept tokens
            in its embedding, and the same combination is taken of the model's rows.
        sparsity: kept tokens per combination.
        show_progress: draw a bar for what takes over five seconds.

    Returns:
        The model with a row for each new token, on the same device with the same dtype and mode; the new tokenizer;
        and a report.

    Raises:
        TypeError: the model is wrapped.
        ValueError: as of ``prune_vocabulary``; or the settings name a token that the new tokenizer lacks; or the donor
            has fewer rows than the new tokenizer has tokens.

    Note:
        Train on before use: the network has never seen texts cut so. The source of combinations warns of tokenizers
        that cut numbers otherwise. Memory and time of the donor's combinations: about a second per 512 tokens for
        30,000 shared ones.

    Example:
        >>> from transformers import BertConfig, BertForMaskedLM, BertTokenizer
        >>> special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        >>> old, new = (BertTokenizer(vocab={name: number for number, name in enumerate([*special, *words])})
        ...             for words in (["play", "##ing", "sun"], ["sun", "playing"]))
        >>> model = BertForMaskedLM(BertConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1,
        ...                                    num_attention_heads=2, intermediate_size=8))
        >>> grafted = graft_vocabulary(model, old, new)
        >>> print(grafted.report)
        rows         6 kept, 1 means of old ones, 0 combined as in the donor, 0 unknown
        >>> rows = grafted.model.get_input_embeddings().weight
        >>> torch.allclose(rows[6], model.get_input_embeddings().weight[5:7].mean(dim=0))
        True
    """
    refuse_model(model)
    rows = rows_of(model)
    refuse_sizes(max(tokenizer.get_vocab().values()) + 1, rows)
    pieces = stand_ins(new_tokenizer, tokenizer)
    new_ids = _settings_ids(model, pieces, new_tokenizer, tokenizer)
    combinations = (
        None if donor is None else _combinations(donor, pieces, tokenizer.unk_token_id, sparsity, show_progress)
    )

    def new_rows(_: str, weight: Tensor, dimension: int) -> Tensor:
        made = mean_rows(weight.movedim(dimension, 0), pieces)
        if combinations is not None and made.dim() == 2 and made.shape[1] > 1:
            made[combinations.words] = combinations.rows(made)
        return made.movedim(0, dimension)

    grafted = model_with_rows(model, vocabulary_tables(type(model), model.config), new_rows, len(pieces))
    give_new_ids(grafted, new_ids, rows, len(pieces))
    several = sum(len(row) > 1 for row in pieces)
    unknown = pieces.count((tokenizer.unk_token_id,)) - (new_tokenizer.unk_token_id is not None)
    donated = 0 if combinations is None else len(combinations.words)
    report = GraftReport(len(pieces) - several - max(0, unknown), several - donated, donated, max(0, unknown))
    return GraftedVocabulary(grafted, new_tokenizer, report)


def _settings_ids(
    model: PreTrainedModel, pieces: Sequence[tuple[int, ...]], new_tokenizer: Any, tokenizer: Any
) -> Mapping[int, int]:
    """New ids of old ones that are kept; those of special tokens by their roles."""
    new_ids = {row[0]: number for number, row in reversed(list(enumerate(pieces))) if len(row) == 1}
    for role in ("unk", "mask", "cls", "sep", "bos", "eos", "pad"):  # the last prevail, where one token has two roles
        old, new = (getattr(one, f"{role}_token_id") for one in (tokenizer, new_tokenizer))
        if old is not None and new is not None:
            new_ids[old] = new
    named = set[int]().union(*(named_ids(one, rows_of(model)) for one in settings_of_model(model)))
    if lacking := sorted(named - new_ids.keys()):
        token = tokenizer.convert_ids_to_tokens(lacking[0])
        raise ValueError(
            f"the model's settings name {token!r} ({lacking[0]}), which the new tokenizer lacks; add it, or take "
            "it out of model.config and model.generation_config"
        )
    return new_ids


def _combinations(
    donor: PreTrainedModel, pieces: Sequence[tuple[int, ...]], unknown: int | None, sparsity: int, show_progress: bool
) -> Combinations:
    """Tokens that are not kept, as combinations of kept ones in the donor's embedding."""
    embedding: Any = donor.get_input_embeddings()
    theirs = embedding.weight.detach().float()
    if len(theirs) < len(pieces):
        raise ValueError(
            f"the donor has {len(theirs)} rows, the new tokenizer {len(pieces)} tokens; give the model that the new "
            "tokenizer is of"
        )
    kept = torch.tensor([number for number, row in enumerate(pieces) if len(row) == 1 and row[0] != unknown])
    words = torch.tensor([number for number, row in enumerate(pieces) if len(row) > 1])
    if not len(kept) or not len(words):
        raise ValueError(f"the tokenizers share {len(kept)} tokens, and {len(words)} are new: leave donor=None")
    dictionary = theirs[kept]
    found = [
        orthogonal_matching_pursuit(dictionary, theirs[part], min(sparsity, *dictionary.shape))
        for part in tqdm(
            words.split(_AT_ONCE), "matching tokens", unit=" parts", disable=None if show_progress else True, delay=5
        )
    ]
    rows, coefficients = (torch.cat(parts) for parts in zip(*found, strict=True))
    return Combinations(words, kept[rows.cpu()], coefficients.cpu())
