"""Byte-pair vocabularies with fewer tokens, in which every text whose tokens are kept is merged as before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from tokenizers.pre_tokenizers import ByteLevel

Pair = tuple[str, str]


def pruned_bpe(model: Mapping[str, Any], new_ids: Mapping[int, int]) -> dict[str, Any]:
    """A BPE model of ``tokenizer.json`` with some of its tokens, and the merges among them in their order.

    BPE applies the merge with the lowest rank among those that are possible. Whatever it makes of a text on the way
    to its tokens lies within one of them, and is what it makes of that token alone. So if with each token all that is
    made on the way to it is kept (``ancestors``), every merge that was applied is there, and the others are fewer.

    Args:
        model: of type ``BPE``.
        new_ids: of the kept ids, ascending with them.

    Returns:
        The model; a merge stays where both its parts and its result do.

    Example:
        >>> vocabulary = {token: number for number, token in enumerate(["a", "b", "c", "bc", "ab", "abc"])}
        >>> model = {"type": "BPE", "vocab": vocabulary, "merges": [["b", "c"], ["a", "b"], ["a", "bc"], ["ab", "c"]]}
        >>> pruned = pruned_bpe(model, {0: 0, 1: 1, 2: 2, 3: 3, 5: 4})
        >>> pruned["vocab"], pruned["merges"]
        ({'a': 0, 'b': 1, 'c': 2, 'bc': 3, 'abc': 4}, [['b', 'c'], ['a', 'bc']])
    """
    by_id = sorted(model["vocab"].items(), key=lambda entry: entry[1])
    vocabulary = {token: new_ids[number] for token, number in by_id if number in new_ids}
    merges = [
        merge
        for merge, (left, right) in zip(model["merges"], _pairs(model), strict=True)
        if left in vocabulary and right in vocabulary and left + right in vocabulary
    ]
    return {**model, "vocab": vocabulary, "merges": merges}


def needed_for_bpe(content: Mapping[str, Any]) -> set[int]:
    """Ids that no BPE vocabulary goes without: the unknown token, and bytes, on which any text can fall back.

    Args:
        content: the whole of ``tokenizer.json``, whose pre-tokenizer tells whether tokens are spelt in bytes.
    """
    model = content["model"]
    names = {model["unk_token"]} if model.get("unk_token") is not None else set()
    if model.get("byte_fallback"):
        names |= {f"<0x{byte:02X}>" for byte in range(256)}
    if is_byte_level(content):
        names |= set(ByteLevel.alphabet())
    return {model["vocab"][name] for name in names if name in model["vocab"]}


def is_byte_level(content: Mapping[str, Any]) -> bool:
    """Whether the tokens of a ``tokenizer.json`` spell bytes, each as one of 256 characters."""
    step = content.get("pre_tokenizer") or {}
    return any(one["type"] == "ByteLevel" for one in [step, *step.get("pretokenizers", [])])


def refuse_other_bpe(model: Mapping[str, Any]) -> None:
    """Refuse settings under which tokens are not what their merges' parts spell.

    Raises:
        ValueError: a prefix, a suffix, or dropout.
    """
    for name in ("continuing_subword_prefix", "end_of_word_suffix", "dropout"):
        if model.get(name):
            raise ValueError(
                f"the tokenizer's BPE has {name}={model[name]!r}; vocabularies with it cannot be pruned here"
            )


def ancestors(model: Mapping[str, Any]) -> Callable[[int], Iterable[int]]:
    """For each id, the tokens made on the way to it, from single symbols on.

    Args:
        model: of type ``BPE``.

    Returns:
        A function; a token that merges do not lead to has none: it comes from ``ignore_merges`` or as an added token.

    Note:
        The square of a token's length; 150,000 tokens take about three seconds.

    Example:
        >>> vocabulary = {token: number for number, token in enumerate(["a", "b", "c", "bc", "ab", "abc"])}
        >>> sorted(ancestors({"vocab": vocabulary, "merges": ["b c", "a b", "a bc", "ab c"]})(5))
        [0, 1, 2, 3, 5]
    """
    vocabulary: Mapping[str, int] = model["vocab"]
    names = {number: token for token, number in vocabulary.items()}
    ranks = {pair: rank for rank, pair in enumerate(_pairs(model))}

    def way(number: int) -> Iterable[int]:
        token = names.get(number)
        if token is None or any(symbol not in vocabulary for symbol in token):
            return ()
        met, last = derivation(token, ranks)
        return {vocabulary[piece] for piece in met} if last == [token] else ()

    return way


def derivation(text: Sequence[str], ranks: Mapping[Pair, int]) -> tuple[set[str], list[str]]:
    """Merge a text's symbols, always the pair with the lowest rank, of equal pairs the first.

    Args:
        text: a pre-token.
        ranks: of the pairs that merge.

    Returns:
        All symbols and tokens met, and the tokens at the end.
    """
    symbols = list(text)
    met = set(symbols)
    while len(symbols) > 1:
        rank, at = min((ranks.get(pair, len(ranks)), at) for at, pair in enumerate(pairwise(symbols)))
        if rank == len(ranks):
            break
        symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]
        met.add(symbols[at])
    return met, symbols


def _pairs(model: Mapping[str, Any]) -> list[Pair]:
    """The merges, which older files write as one string each."""
    split = (merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"])
    return [(left, right) for left, right in split]
