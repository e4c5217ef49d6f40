"""Vocabulary surgery on plain tensors: which old rows make a new row, and the rows themselves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from nlpkit.wobert.words.word_splitter import is_chinese

#: Gives the weight of each piece of a word in the mean that becomes the word's row.
PieceWeights = Callable[[str, list[str]], Sequence[float]]

#: The special tokens of a word vocabulary, and the attribute that names their counterpart in any tokenizer.
SPECIAL_ROLES = {
    "[PAD]": "pad_token_id",
    "[UNK]": "unk_token_id",
    "[CLS]": "cls_token_id",
    "[SEP]": "sep_token_id",
    "[MASK]": "mask_token_id",
}


def find_pieces(vocabulary: Mapping[str, int], tokenizer: Any) -> list[tuple[int, ...]]:
    """Source token ids that stand for each token of a new vocabulary.

    A token that the source vocabulary has is its own piece, any other is cut by the source tokenizer; special tokens
    correspond by role, whatever they are called. With a SentencePiece source, a word in letters is the piece that
    begins a word (``▁hello``), Chinese and ``##`` tokens are pieces without the mark. Pieces that the source does not
    know are left out, unless all of them are: then the unknown token itself is the one piece.

    Args:
        vocabulary: token to id in BERT's conventions, ids 0 to V'-1.
        tokenizer: the source's transformers tokenizer; WordPiece, SentencePiece or byte-level BPE.

    Returns:
        Tuples of source ids, one for each new id, none of them empty.

    Example:
        >>> from transformers import BertTokenizer
        >>> names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "天", "气"]
        >>> source = BertTokenizer(vocab={name: index for index, name in enumerate(names)})
        >>> find_pieces({"[UNK]": 0, "天气": 1, "气": 2, "龘": 3}, source)
        [(1,), (5, 6), (6,), (1,)]
    """
    source = tokenizer.get_vocab()
    mark = _mark(source)
    pieces: dict[str, tuple[int, ...]] = {}
    for token in vocabulary:
        spelled = [name for name in _spellings(token, mark) if name in source]
        if token in SPECIAL_ROLES:
            pieces[token] = (getattr(tokenizer, SPECIAL_ROLES[token]),)
        elif spelled:
            pieces[token] = (source[spelled[0]],)
    missing = [token for token in vocabulary if token not in pieces]
    if missing:
        names = {identifier: name for name, identifier in source.items()}
        # Byte-level BPE marks a word's beginning only after a space.
        texts = [" " * (mark == "Ġ") + _bare(token) for token in missing]
        for token, cut in zip(missing, tokenizer(texts, add_special_tokens=False)["input_ids"], strict=True):
            known = [identifier for identifier in cut if identifier != tokenizer.unk_token_id]
            pieces[token] = tuple(_as_inside(token, known, source, names, mark)) or (tokenizer.unk_token_id,)
    return [pieces[token] for token in sorted(vocabulary, key=vocabulary.__getitem__)]


def _mark(source: Mapping[str, int]) -> str:
    """How a vocabulary tells beginnings of words: ``##`` marks what continues one, ``▁`` or ``Ġ`` what begins one."""
    return max(("##", "▁", "Ġ"), key=lambda mark: sum(name.startswith(mark) for name in source))


def _bare(token: str) -> str:
    return token[2:] if _continues(token) else token


def _continues(token: str) -> bool:
    return token.startswith("##") and len(token) > 2


def _begins_word(token: str) -> bool:
    """Whether text writes a space before a token: words in letters, but neither Chinese nor signs nor digits."""
    return token[:1].isalpha() and not is_chinese(token[0])


def _spellings(token: str, mark: str) -> list[str]:
    if mark == "##" or not token:
        return [token]
    if mark == "Ġ" and not token.isascii():
        # The letters of a byte-level vocabulary stand for bytes: one that looks like this token is another.
        return []
    if _continues(token):
        return [token[2:]]
    return [mark + token, token] if _begins_word(token) else [token, mark + token]


def _as_inside(
    token: str, cut: list[int], source: Mapping[str, int], names: Mapping[int, str], mark: str
) -> list[int]:
    """Pieces of a token that was cut as if it began a word, put right where it does not."""
    if mark != "##" and cut and names[cut[0]] == mark:
        cut = cut[1:]
    if not cut:
        return []
    first = names[cut[0]]
    if mark == "##" and _continues(token):
        first = f"##{first}"
    elif mark != "##" and not _begins_word(token):
        first = first.removeprefix(mark)
    return [source.get(first, cut[0]), *cut[1:]]


def find_weights(
    vocabulary: Mapping[str, int], pieces: Sequence[tuple[int, ...]], tokenizer: Any, piece_weights: PieceWeights
) -> list[tuple[float, ...]]:
    """The weight of each piece in the mean, asked for words of several pieces.

    Args:
        vocabulary: token to id.
        pieces: source ids of each new id, as ``find_pieces`` gives them.
        tokenizer: the source's tokenizer.
        piece_weights: given a word and its pieces, one non-negative weight a piece.

    Returns:
        Weights in the shape of ``pieces``; 1 for words of one piece.

    Raises:
        ValueError: the weights of a word are too many or too few, negative, not finite, or sum to 0.
    """
    weights: list[tuple[float, ...]] = [(1.0,)] * len(pieces)
    for word, identifier in vocabulary.items():
        if len(pieces[identifier]) == 1:
            continue
        names = tokenizer.convert_ids_to_tokens(list(pieces[identifier]))
        given = tuple(float(weight) for weight in piece_weights(word, names))
        if len(given) != len(names):
            raise ValueError(
                f"piece_weights gave {len(given)} weights for {word!r}, whose pieces are {names}; give one a piece"
            )
        if not all(math.isfinite(weight) and weight >= 0 for weight in given) or sum(given) == 0:
            raise ValueError(
                f"piece_weights gave {list(given)} for {word!r}; weights must be finite, not negative and not all 0"
            )
        weights[identifier] = given
    return weights


def mean_rows(
    matrix: Tensor, pieces: Sequence[tuple[int, ...]], weights: Sequence[tuple[float, ...]] | None = None
) -> Tensor:
    """Rows of a new vocabulary: each the mean of its pieces' rows.

    Source: WoBERT (kexue.fm/archives/7758), new words start at the mean of their characters.

    Args:
        matrix: embedding, decoder or bias of the old vocabulary, shape ``(V, ...)``.
        pieces: ids of rows of ``matrix`` for each new row.
        weights: weight of each piece, in the shape of ``pieces``; ``None`` means equal.

    Returns:
        Shape ``(V', ...)``, same dtype. Summed from the first piece to the last in at least fp32, divided once, then
        cast: a row of one piece is that row, bit for bit.

    Example:
        >>> mean_rows(torch.tensor([[1.0, 2.0], [3.0, 6.0]]), [(1,), (0, 1)])
        tensor([[3., 6.],
                [2., 4.]])
    """
    wide = torch.promote_types(matrix.dtype, torch.float32)
    given = weights if weights is not None else [(1.0,) * len(row) for row in pieces]
    column = (-1, *[1] * (matrix.dim() - 1))

    def addends(rows: Sequence[int], position: int) -> tuple[Tensor, Tensor]:
        ids = torch.tensor([pieces[row][position] for row in rows], device=matrix.device)  # (n,)
        weight = torch.tensor([given[row][position] for row in rows], dtype=wide, device=matrix.device).view(column)
        return weight * matrix[ids].to(wide), weight  # (n, ...), (n, 1, ...)

    total, norm = addends(range(len(pieces)), 0)
    for position in range(1, max(map(len, pieces))):
        longer = [row for row, ids in enumerate(pieces) if len(ids) > position]
        addend, weight = addends(longer, position)
        total[longer] += addend
        norm[longer] += weight
    return (total / norm).to(matrix.dtype)


def log_unigram(token_counts: Mapping[str, int], vocabulary: Mapping[str, int]) -> Tensor:
    """Logarithm of the add-one smoothed relative frequency of each token.

    The bias of a fresh MLM head that starts here predicts the unigram distribution before its first step.

    Args:
        token_counts: occurrences in a corpus; strings that are no token are ignored, tokens it lacks count 0.
        vocabulary: token to id, ids 0 to V-1.

    Returns:
        fp64, shape ``(V,)``; ``exp`` of it sums to 1.

    Raises:
        ValueError: no token of the vocabulary is counted, or a count is negative.

    Example:
        >>> log_unigram({"好": 2}, {"[UNK]": 0, "好": 1}).exp()
        tensor([0.2500, 0.7500], dtype=torch.float64)
    """
    counts = torch.zeros(len(vocabulary), dtype=torch.float64)  # (V,)
    for token in vocabulary.keys() & token_counts.keys():
        if token_counts[token] < 0:
            raise ValueError(f"token_counts has {token_counts[token]} for {token!r}; counts cannot be negative")
        counts[vocabulary[token]] = token_counts[token]
    if not counts.any():
        raise ValueError(
            "token_counts counts no token of the vocabulary; count with the new tokenizer, e.g. "
            "Counter(token for text in corpus for token in tokenizer.tokenize(text))"
        )
    return torch.log((counts + 1) / (counts.sum() + len(vocabulary)))


def select_layers(state: Mapping[str, Tensor], layers: Sequence[int], where: str) -> dict[str, Tensor]:
    """A state dict with only these encoder layers, renumbered from 0.

    Args:
        state: a model's.
        layers: indices of layers.
        where: name of the module that lists them.

    Example:
        >>> list(select_layers({"a.layer.0.w": torch.ones(1), "a.layer.2.w": torch.ones(1), "b": torch.ones(1)}, [2],
        ...                    "a.layer"))
        ['a.layer.0.w', 'b']
    """
    selected: dict[str, Tensor] = {}
    for name, tensor in state.items():
        number, _, rest = name.removeprefix(f"{where}.").partition(".")
        if not name.startswith(f"{where}."):
            selected[name] = tensor
        elif int(number) in layers:
            selected[f"{where}.{layers.index(int(number))}.{rest}"] = tensor
    return selected
