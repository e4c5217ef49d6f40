"""What tokens spell, whatever their tokenizer marks beginnings of words with, and which tokens of another spell it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from tokenizers.pre_tokenizers import ByteLevel

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_ROLES = ("pad", "unk", "bos", "eos", "cls", "sep", "mask")
#: Roles that stand in for one another at either end of a text.
_KIN = {"bos": "cls", "cls": "bos", "eos": "sep", "sep": "eos"}


class Spelling(NamedTuple):
    """What a token spells."""

    begins: bool  #: a word, after white space or at the beginning of a text
    content: bytes


def spellings(tokenizer: Any) -> dict[int, Spelling]:
    """What the tokens of a tokenizer spell, special and added ones left out.

    Args:
        tokenizer: of transformers: byte-level BPE, SentencePiece-like, or WordPiece-like.

    Example:
        >>> from transformers import BertTokenizer
        >>> names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "run", "##ning"]
        >>> list(spellings(BertTokenizer(vocab={name: number for number, name in enumerate(names)})).values())
        [Spelling(begins=True, content=b'run'), Spelling(begins=False, content=b'ning')]
    """
    added = set(tokenizer.added_tokens_decoder) | set(tokenizer.all_special_ids)
    names = {number: name for name, number in tokenizer.get_vocab().items() if number not in added}
    marks = {mark: sum(name.startswith(mark) for name in names.values()) for mark in ("##", "▁", "Ġ")}
    if marks["Ġ"] and set(ByteLevel.alphabet()) <= set(names.values()) | {"Ġ"}:
        bytes_of = _byte_characters()
        return {number: _of_bytes(name, bytes_of) for number, name in sorted(names.items())}
    spell = _of_sentencepiece if marks["▁"] > marks["##"] else _of_word_piece
    return {number: spell(name) for number, name in sorted(names.items())}


def _byte_characters() -> dict[str, int]:
    """The character that stands for each byte, as in GPT-2: itself where it is visible, else the next above 255."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in visible]
    return {chr(byte): byte for byte in visible} | {chr(256 + place): byte for place, byte in enumerate(others)}


def _of_bytes(name: str, bytes_of: Mapping[str, int]) -> Spelling:
    content = bytes(bytes_of[character] for character in name)
    return Spelling(True, content[1:]) if content[:1] == b" " and len(content) > 1 else Spelling(False, content)


def _of_sentencepiece(name: str) -> Spelling:
    if match := _BYTE.fullmatch(name):
        return Spelling(False, bytes([int(match[1], 16)]))
    begins = name.startswith("▁")
    return Spelling(begins, name[begins:].replace("▁", " ").encode())


def _of_word_piece(name: str) -> Spelling:
    inside = name.startswith("##") and len(name) > 2
    return Spelling(not inside, name[2 * inside :].encode())


def stand_ins(new_tokenizer: Any, tokenizer: Any) -> list[tuple[int, ...]]:
    """Old ids that stand for each new token: one that spells the same, or those that the old tokenizer cuts it to.

    Source: T5-PEGASUS (kexue.fm/archives/8209): a token that mT5 has, with or without ``▁``, keeps its row, others
    are cut.

    Args:
        new_tokenizer: whose tokens are looked for.
        tokenizer: the model's.

    Returns:
        Tuples of old ids, one for each new id, none of them empty. Special tokens stand for those of the same role or
        name; what the old tokenizer does not know is its unknown token, where it has one.

    Raises:
        ValueError: the new tokenizer leaves ids out, or a token of it has no counterpart at all.
    """
    size = max(new_tokenizer.get_vocab().values()) + 1
    if size != len(set(new_tokenizer.get_vocab().values())):
        raise ValueError(f"the new tokenizer has ids up to {size - 1}, but not all of them; every row needs a token")
    wanted, old = spellings(new_tokenizer), spellings(tokenizer)
    old_names = tokenizer.get_vocab()
    by_spelling = _by_spelling(old, {number: name for name, number in old_names.items()})
    found: dict[int, tuple[int, ...]] = _special(new_tokenizer, tokenizer)
    names = {number: name for name, number in new_tokenizer.get_vocab().items()}
    for number, spelling in wanted.items():
        named = old_names.get(names[number])
        other = Spelling(not spelling.begins, spelling.content)
        same = named if old.get(named) == spelling else by_spelling.get(spelling, by_spelling.get(other))
        if number not in found and same is not None:
            found[number] = (same,)
    left = [number for number in range(size) if number not in found]
    for number in left:
        spelling = wanted.get(number, Spelling(True, names[number].encode()))
        found[number] = _cut(spelling, tokenizer, old, by_spelling) or _unknown(names[number], tokenizer)
    return [found[number] for number in range(size)]


def _by_spelling(old: Mapping[int, Spelling], names: Mapping[int, str]) -> dict[Spelling, int]:
    """Ids by what they spell; of several tokens the first, and a byte that stands for a rare character last."""
    order = sorted(old, key=lambda number: (_BYTE.fullmatch(names[number]) is not None, number), reverse=True)
    return {old[number]: number for number in order}


def _special(new_tokenizer: Any, tokenizer: Any) -> dict[int, tuple[int, ...]]:
    """Special tokens by their roles, other added tokens by their names."""
    old_names = tokenizer.get_vocab()
    found: dict[int, tuple[int, ...]] = {
        number: (old_names[token.content],)
        for number, token in new_tokenizer.added_tokens_decoder.items()
        if token.content in old_names
    }
    for role in _ROLES:
        new = getattr(new_tokenizer, f"{role}_token_id")
        old = getattr(tokenizer, f"{role}_token_id")
        if old is None and role in _KIN:
            old = getattr(tokenizer, f"{_KIN[role]}_token_id")
        if new is not None and old is not None:
            found[new] = (old,)
    return found


def _cut(
    spelling: Spelling, tokenizer: Any, old: Mapping[int, Spelling], by_spelling: Mapping[Spelling, int]
) -> tuple[int, ...]:
    """Old tokens of a text, or of bytes that are none."""
    try:
        text = spelling.content.decode()
    except UnicodeDecodeError:
        single = (by_spelling.get(Spelling(False, bytes([byte]))) for byte in spelling.content)
        return tuple(number for number in single if number is not None)
    ids = tokenizer(" " * spelling.begins + text, add_special_tokens=False)["input_ids"]
    ids = [number for number in ids if number != tokenizer.unk_token_id]
    if ids and len(ids) > 1 and old.get(ids[0]) == Spelling(True, b""):  # SentencePiece's mark alone
        ids = ids[1:]
    if ids and not spelling.begins and ids[0] in old:
        ids[0] = by_spelling.get(Spelling(False, old[ids[0]].content), ids[0])
    return tuple(ids)


def _unknown(name: str, tokenizer: Any) -> tuple[int, ...]:
    if tokenizer.unk_token_id is None:
        raise ValueError(
            f"the model's tokenizer can neither spell {name!r} nor has it an unknown token; leave that token out of "
            "the new tokenizer"
        )
    return (tokenizer.unk_token_id,)
