"""A character or subword model becomes a word model."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import AutoModel, AutoTokenizer, PreTrainedModel

from nlpkit.sources import find_model
from nlpkit.wobert.configuration import WoBertConfig
from nlpkit.wobert.tokenizing.saving import AUTO_MAP
from nlpkit.wobert.tokenizing.tokenizer import WoBertTokenizer
from nlpkit.wobert.wordifying.agreement import check_direction, keep_layers
from nlpkit.wobert.wordifying.building import build_alike, layer_settings, special_ids, start_head_bias
from nlpkit.wobert.wordifying.embedding_surgery import (
    SPECIAL_ROLES,
    PieceWeights,
    find_pieces,
    find_weights,
    mean_rows,
    select_layers,
)
from nlpkit.wobert.wordifying.matching_pursuit import Combinations, donor_combinations
from nlpkit.wobert.wordifying.report import WordifyReport, compare_tokenizers
from nlpkit.wobert.wordifying.row_distillation import check_distillation, distil_rows
from nlpkit.wobert.wordifying.source_model import (
    check_layers,
    check_source,
    input_names,
    layer_list,
    room_for_tokens,
    tables,
)
from nlpkit.wobert.words.reachability import warn_of_unreachable
from nlpkit.wobert.words.segmenters import Segmenter
from nlpkit.wobert.words.vocabulary_file import read_vocabulary
from nlpkit.wobert.words.word_splitter import Fallback

#: A model that knows new words, with its tokenizer, or where to find both.
Donor = tuple[PreTrainedModel, Any] | str | Path


class WordModel(NamedTuple):
    """What ``wordify`` returns."""

    model: PreTrainedModel
    tokenizer: WoBertTokenizer
    report: WordifyReport


def wordify(
    model: PreTrainedModel,
    tokenizer: Any,
    vocabulary: Mapping[str, int] | Sequence[str] | str | Path,
    *,
    layers: Sequence[int] | None = None,
    piece_weights: PieceWeights | None = None,
    token_counts: Mapping[str, int] | None = None,
    texts: Iterable[str] | None = None,
    segmenter: str | Segmenter = "rjieba",
    fallback: Fallback = "faithful",
    do_lower_case: bool = True,
    cut_vocabulary_words: bool = False,
    donor: Donor | None = None,
    distil: Iterable[str] | None = None,
    steps: int = 50,
    show_progress: bool = True,
) -> WordModel:
    """Give a pretrained encoder a word vocabulary: old rows kept, new rows the mean of their pieces' rows.

    Source: WoBERT (kexue.fm/archives/7758); initialisation by the mean of the pieces.

    Args:
        model: a BERT-like masked LM or encoder. BERT and RoBERTa (XLM-R, CamemBERT) become ``WoBertForMaskedLM``;
            ModernBERT, DeBERTa, ELECTRA, ALBERT, Longformer, DPR and other models that read in both directions keep
            their class.
        tokenizer: the model's own tokenizer: WordPiece, SentencePiece or byte-level BPE.
        vocabulary: the word vocabulary in BERT's conventions: token to id, tokens in order, or a file of one token a
            line. ``nlpkit.build_vocabulary`` makes one.
        layers: indices of the encoder layers to keep, ascending; ``None`` keeps all.
        piece_weights: given a word and its pieces, the weight of each in the mean; ``None`` weighs them equally.
        token_counts: occurrences of the new tokens in a corpus. A fresh MLM head (the source has none) then starts
            with the log unigram distribution as its bias, which saves its first hundreds of steps.
        texts: a sample on which the report compares the tokenizers.
        segmenter: as for ``WoBertTokenizer``; so are ``fallback`` and ``do_lower_case``.
        fallback: what becomes of words that the vocabulary lacks.
        do_lower_case: normalise as uncased BERT does.
        cut_vocabulary_words: as for ``WoBertTokenizer``: every word of the vocabulary is cut.
        donor: a model with its tokenizer, or the folder or Hub id of one, that has new words as single tokens: their
            rows become combinations of shared tokens' rows with the coefficients found in the donor
            (``donor_combinations``) rather than means.
        distil: texts on which the new rows are learnt (``distil_rows``), from the means or the donor's combinations.
        steps: of the distillation.
        show_progress: show bars.

    Returns:
        The word model, its tokenizer and a report. The model has the device, the mode and, except float16, the dtype
        of ``model``, which stays as it was; it is float32 beside float16, in which training diverges.

    Raises:
        TypeError: ``model`` is no transformers model of these kinds, as it reads from left to right or has a decoder;
            or ``texts`` is one string.
        ValueError: the tokenizer is another model's, or lacks a special token; the vocabulary is broken or lacks
            one; ``layers`` is empty, unordered, repeats or leaves the model; weights or counts make no sense; the word
            model would read old tokens otherwise than the source does, or the source cannot be run to find out.

    Warns:
        UserWarning: words that no text can become, because the segmenter never cuts them.

    Note:
        RoBERTa's positions count from ``pad_token_id + 1`` and it has one token type: the word model starts at
        position 0 and has two token types with the same row, so that pairs work. Models that keep their class and
        count positions from the padding id get their rows of positions moved. The tokenizer makes token types only
        where the model takes two of them and its own tokenizer makes them. Where the whole vocabulary is kept, hidden
        states and logits equal the source's; both models are run on a few tokens to see that they do. A fresh head is
        drawn from torch's global generator: seed it.
        Peak memory: the source, the word model and a copy of one of them in at least fp32.

    Example:
        >>> from transformers import BertConfig, BertForMaskedLM, BertTokenizer
        >>> special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        >>> characters = BertTokenizer(vocab={name: index for index, name in enumerate([*special, "天", "气", "好"])})
        >>> config = BertConfig(vocab_size=8, hidden_size=8, num_hidden_layers=3, num_attention_heads=2,
        ...                     intermediate_size=8, max_position_embeddings=16)
        >>> words = wordify(BertForMaskedLM(config), characters, [*special, "天气", "好"], layers=(0, 2))
        >>> words.tokenizer.tokenize("天气好")
        ['天气', '好']
        >>> print(words.report.kept_rows, words.report.new_rows, words.report.layers)
        6 1 (0, 2)
    """
    check_source(model, tokenizer)
    check_direction(model, tokenizer)
    if distil is not None and model.dtype != torch.float16:  # what comes of that is float32
        check_distillation(model, tokenizer, tokenizer, distil, steps)
    kept_layers = check_layers(model, layers)
    words = WoBertTokenizer(
        _as_mapping(vocabulary),
        fallback,
        segmenter,
        do_lower_case=do_lower_case,
        cut_vocabulary_words=cut_vocabulary_words,
        model_input_names=input_names(model, tokenizer),
    )
    unreachable = words.unreachable_tokens()
    if not cut_vocabulary_words:
        warn_of_unreachable(unreachable, "leave them out, or let them be cut: cut_vocabulary_words=True")
    ids = dict(sorted(words.get_vocab().items(), key=lambda item: item[1]))
    pieces = find_pieces(ids, tokenizer)
    weights = None if piece_weights is None else find_weights(ids, pieces, tokenizer, piece_weights)

    combinations = None if donor is None else _combinations(donor, ids, pieces, tokenizer, show_progress)

    state = _word_state(model, pieces, weights, combinations)
    settings = special_ids(model.config, tokenizer, ids, pieces) | {"vocab_size": len(ids)}
    if layers is not None:
        state = select_layers(state, kept_layers, str(layer_list(model)))
        settings |= layer_settings(model.config, kept_layers)
    special = [(getattr(tokenizer, role), ids[token]) for token, role in SPECIAL_ROLES.items()]
    target, fresh, dropped = build_alike(model, state, settings, pieces, special, layers)
    head_bias = start_head_bias(target, fresh, token_counts, ids)
    if not isinstance(target.config, WoBertConfig):
        words.init_kwargs["auto_map"] = AUTO_MAP
    words.model_max_length = min(tokenizer.model_max_length, room_for_tokens(target) or tokenizer.model_max_length)

    new = [number for number, row in enumerate(pieces) if len(row) > 1]
    distillation = None
    if distil is not None:
        teacher = model if layers is None else keep_layers(copy.deepcopy(model), kept_layers)
        distillation = distil_rows(
            target, words, teacher, tokenizer, new, distil,
            steps=steps, learn_bias=not fresh, show_progress=show_progress,
        )  # fmt: skip

    unknown = _unknown_tokens(ids, pieces, tokenizer.unk_token_id)
    report = WordifyReport(
        source=type(model).__name__,
        target=type(target).__name__,
        parameters_before=model.num_parameters(),
        parameters_after=target.num_parameters(),
        vocabulary_before=model.get_input_embeddings().num_embeddings,  # type: ignore[arg-type]
        vocabulary_after=len(ids),
        kept_rows=sum(len(row) == 1 for row in pieces) - len(unknown),
        new_rows=len(new),
        unknown_tokens=unknown,
        layers_before=model.config.num_hidden_layers,
        layers=kept_layers,
        fresh_head=fresh,
        head_bias=head_bias,
        dropped=dropped,
        texts=None if texts is None else compare_tokenizers(texts, tokenizer, words),
        unreachable_tokens=unreachable,
        unreachable_new_rows=sum(len(pieces[ids[token]]) > 1 for token in unreachable),
        donor_rows=0 if combinations is None else len(combinations.words),
        distillation=distillation,
    )
    return WordModel(target, words, report)


def _as_mapping(vocabulary: Mapping[str, int] | Sequence[str] | str | Path) -> dict[str, int]:
    if isinstance(vocabulary, Mapping):
        return dict(vocabulary)
    if isinstance(vocabulary, str | Path):
        return read_vocabulary(vocabulary)
    ids = {token: number for number, token in enumerate(vocabulary)}
    if len(ids) < len(vocabulary):
        token, count = Counter(vocabulary).most_common(1)[0]
        raise ValueError(f"vocabulary has {token!r} {count} times; every token must stand once")
    return ids


def _word_state(
    model: PreTrainedModel,
    pieces: Sequence[tuple[int, ...]],
    weights: Sequence[tuple[float, ...]] | None,
    combinations: Combinations | None,
) -> dict[str, Tensor]:
    state = dict(model.state_dict())
    for name, dimension in tables(model, "vocab_size").items():
        rows = mean_rows(state[name].movedim(dimension, 0), pieces, weights)
        if combinations is not None and rows.dim() == 2:
            rows[combinations.words] = combinations.rows(rows)
        state[name] = rows.movedim(0, dimension)
    return state


def _combinations(
    donor: Donor, ids: Mapping[str, int], pieces: Sequence[tuple[int, ...]], tokenizer: Any, show_progress: bool
) -> Combinations:
    if isinstance(donor, str | Path):
        place = find_model(str(donor))
        donor = AutoModel.from_pretrained(place), AutoTokenizer.from_pretrained(place)
    model, donor_tokenizer = donor
    embedding: Any = model.get_input_embeddings()
    return donor_combinations(
        ids, pieces, tokenizer.unk_token_id, embedding.weight, donor_tokenizer, show_progress=show_progress
    )


def _unknown_tokens(ids: Mapping[str, int], pieces: Sequence[tuple[int, ...]], unknown_id: int) -> tuple[str, ...]:
    return tuple(name for name, row in zip(ids, pieces, strict=True) if row == (unknown_id,) and name != "[UNK]")
