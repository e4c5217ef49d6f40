"""Between words and the tokens by which a model writes them: names of tokens are not words."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

from transformers import PreTrainedTokenizerBase

from nlpkit.pet.clozes.pattern import Pattern, Place

#: A word for each slot of the pattern.
Words = tuple[str, ...]
#: Token ids of the word in each slot.
SlotTokens = tuple[tuple[int, ...], ...]

#: What SentencePiece puts where a space stood.
_SPACE = "▁"


def tokenize_word(
    word: Words, tokenizer: PreTrainedTokenizerBase, pattern: Pattern, allow_unknown: bool = False
) -> SlotTokens:
    """Token ids of a word, one tuple per slot of the pattern.

    Args:
        word: one part per slot.
        tokenizer: of the model.
        pattern: tells what stands before each slot.
        allow_unknown: let the unknown token stand for what the model cannot write, for words not chosen for it.

    Raises:
        ValueError: a part is unknown to the model, or is the name of a token and no text; or the number of parts is
            not that of the slots.
    """
    if len(word) != pattern.slots:
        raise ValueError(
            f"pattern {pattern.template!r} has {pattern.slots} slots, but the label word {show_words([word])} has "
            f"{len(word)} parts"
        )
    return tuple(
        _tokenize_part(part, tokenizer, place, allow_unknown)
        for part, place in zip(word, pattern.places(), strict=True)
    )


def token_texts(ids: Iterable[int], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """What each token writes behind other text, without spaces around it; empty for one that writes nothing.

    Args:
        ids: of tokens.
        tokenizer: of the model.

    Example:
        >>> from transformers import BertTokenizer
        >>> tokenizer = BertTokenizer(vocab={"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "see": 5,
        ...                                  "##ing": 6, "好": 7})
        >>> token_texts([5, 6, 7], tokenizer)
        ['see', 'ing', '好']
    """
    listed = [int(identifier) for identifier in ids]
    first = _an_ordinary_token(tokenizer)
    (start,) = tokenizer.batch_decode([[first]], clean_up_tokenization_spaces=False)
    decoded = tokenizer.batch_decode(
        [[first, identifier] for identifier in listed], clean_up_tokenization_spaces=False
    )
    return [text.removeprefix(start).strip() for text in decoded]


def first_alike(readings: Iterable[Hashable]) -> tuple[int, int] | None:
    """The places of the first two that are the same; ``None`` where all differ.

    Args:
        readings: what is known of each label, or what a model makes of it.

    Example:
        >>> first_alike(["a", "b", "a"]), first_alike(["a", "b"])
        ((0, 2), None)
    """
    owners: dict[Hashable, int] = {}
    for place, reading in enumerate(readings):
        first = owners.setdefault(reading, place)
        if first != place:
            return first, place
    return None


def refuse_alike(texts: Sequence[str], readings: Iterable[Hashable], what: str) -> None:
    """Refuse texts among which a model is to choose, but which it reads alike.

    Args:
        texts: one per label.
        readings: what the model reads in place of each.
        what: they are, for the message.

    Raises:
        ValueError: two readings are the same.
    """
    if alike := first_alike(readings):
        first, second = (texts[place] for place in alike)
        raise ValueError(
            f"{what} {first!r} and {second!r} are the same tokens to this model; nothing tells them apart"
        )


def refuse_alike_candidates(
    candidates: Sequence[str], tokens: Iterable[Sequence[int]], tokenizer: PreTrainedTokenizerBase
) -> None:
    """Refuse candidates of an example that are the same known tokens.

    Args:
        candidates: of the example.
        tokens: ids of each.
        tokenizer: of the model.

    Raises:
        ValueError: two are the same, as texts or as tokens; different texts with the unknown token may be, because
            candidates are not chosen for a model.
    """
    unknown = tokenizer.unk_token_id
    readings = [word if unknown in ids else tuple(ids) for word, ids in zip(candidates, tokens, strict=True)]
    refuse_alike(candidates, readings, "candidates")


def tokens_within(text: str, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Ids of a text's tokens, without those that begin and end an input."""
    return tuple(tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])


def _an_ordinary_token(tokenizer: PreTrainedTokenizerBase) -> int:
    ids: list[int] = tokenizer("a", add_special_tokens=False)["input_ids"]
    return ids[-1]


def _tokenize_part(
    part: str, tokenizer: PreTrainedTokenizerBase, place: Place, allow_unknown: bool
) -> tuple[int, ...]:
    unknown = tokenizer.unk_token_id
    # As the tokenizer would write it; where a text begins, SentencePiece marks the beginning of a word by itself.
    written = f" {part}" if place == "after_space" else part
    ids: list[int] = tokenizer(written, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    tokens = tokenizer.convert_ids_to_tokens(ids)
    if len(ids) > 1 and tokens[0] == _SPACE and place != "after_space":
        ids = ids[1:]
    whole = tokenizer.convert_tokens_to_ids(part)
    known = [whole] if isinstance(whole, int) and whole != unknown else []
    if part in tokenizer.all_special_tokens or (known and token_texts(known, tokenizer) != [part]):
        raise ValueError(
            f"label word {part!r} is the name of a token, not a word; write the word as it stands in a text"
        )
    if known and (place == "inside" or (len(ids) > 1 and place == "beginning")):
        return tuple(known)  # whatever a segmenter or a word-initial marker would make of it alone
    if not ids or (unknown in ids and not allow_unknown):
        raise ValueError(
            f"label word {part!r} is {tokenizer.unk_token or 'empty'} to this model; choose a word that its tokenizer "
            f"knows (it sees {tokens})"
        )
    return tuple(ids)


def show_words(words: Iterable[Words]) -> str:
    """Words in a message, parts joined by ``+``."""
    return ", ".join(repr("+".join(word)) for word in words)
