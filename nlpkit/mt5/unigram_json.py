"""A SentencePiece Unigram vocabulary as a ``tokenizer.json`` that cuts texts as SentencePiece does."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from nlpkit.sentencepiece_file import UNIGRAM, PieceType, SentencePieceFile

#: What ``json`` reads and writes.
Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

_SENTINEL = re.compile(r"▁?(<extra_id_\d+>)")
_RESERVED = (PieceType.UNKNOWN, PieceType.CONTROL)
#: Noncharacters, which no text holds and every normalisation leaves alone.
_BARRIER, _HIDDEN = "\ufdd0", "\ufdd1\ufdd2"
#: But for the beginning, at which tokenizers loses count of what is put in.
_BEFORE_MARKS = r"(?<=[\s\S])(?=[\p{M}\x{200D}])"
#: Unless both are Latin, or a vowel sign of two parts.
_BETWEEN_MARKS = (
    r"(?<=[\p{Mn}ﾞﾟ&&[^\x{0300}-\x{036F}]])(?=[\p{Mn}ﾞﾟ&&[^\x{0C56}\x{11127}]])"
    r"|(?<=[\x{0300}-\x{036F}])(?=[\p{Mn}ﾞﾟ&&[^\x{0300}-\x{036F}]])"
)
#: Characters that NFKC changes and SentencePiece's tables of that name keep.
_KEPT = "\uff5e\U0001f23b"


def unigram_json(proto: SentencePieceFile, sentinels: Mapping[str, int]) -> dict[str, Json]:
    """The content of ``tokenizer.json`` for a Unigram vocabulary, with T5's end of sequence behind each text.

    Args:
        proto: the SentencePiece file.
        sentinels: ids of ``<extra_id_0>`` and so on; pieces there take these names, ids behind the last piece are
            added.

    Returns:
        What ``tokenizers.Tokenizer.from_str`` reads as JSON.

    Raises:
        ValueError: the file holds no Unigram vocabulary, or treats white space in a way that has no counterpart, or
            the sentinels behind the last piece leave ids out.
    """
    _refuse_other_kinds(proto)
    names = {number: name for name, number in sentinels.items()}
    behind = sorted(number for number in names if number >= len(proto.pieces))
    if behind != list(range(len(proto.pieces), len(proto.pieces) + len(behind))):
        raise ValueError(
            f"the sentinels behind the {len(proto.pieces)} pieces have the ids {behind[0]} to {behind[-1]}; they must "
            f"go on from {len(proto.pieces)} without a gap"
        )
    vocabulary: list[Json] = [
        [names.get(number, piece.piece), piece.score] for number, piece in enumerate(proto.pieces)
    ]
    special = {number: piece.piece for number, piece in enumerate(proto.pieces) if piece.type in _RESERVED} | names
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added_token(number, special[number]) for number in sorted(special)],
        "normalizer": {"type": "Sequence", "normalizers": _normalizers(proto)},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": _pre_tokenizers(proto)},
        "post_processor": _end_of_sequence(proto),
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "ByteFallback"},
                {"type": "Metaspace", "replacement": "▁", "prepend_scheme": _prefix(proto, "always"), "split": True},
            ],
        },
        "model": {
            "type": "Unigram",
            "unk_id": proto.trainer_spec.unk_id,
            "vocab": vocabulary,
            "byte_fallback": proto.trainer_spec.byte_fallback,
        },
    }


def sentinel_pieces(proto: SentencePieceFile) -> dict[str, int]:
    """The sentinels among the pieces, by the names that users of transformers know, without ``▁``."""
    found = {number: _SENTINEL.fullmatch(piece.piece) for number, piece in enumerate(proto.pieces)}
    return {match[1]: number for number, match in found.items() if match}


def _refuse_other_kinds(proto: SentencePieceFile) -> None:
    if proto.trainer_spec.model_type != UNIGRAM:
        raise ValueError(
            f"the SentencePiece file holds a vocabulary of kind {proto.trainer_spec.model_type}, not Unigram "
            f"({UNIGRAM}); of byte pairs, AutoTokenizer reads the file itself"
        )
    if proto.trainer_spec.treat_whitespace_as_suffix or not proto.normalizer_spec.escape_whitespaces:
        raise ValueError(
            "the SentencePiece file marks white space behind words, or not at all; only marks before words have a "
            "counterpart in tokenizer.json"
        )
    if proto.normalizer_spec.add_dummy_prefix != proto.normalizer_spec.remove_extra_whitespaces:
        raise ValueError(
            "the SentencePiece file has only one of add_dummy_prefix and remove_extra_whitespaces, so that white "
            "space at the beginning of a text is read otherwise than in its middle, which tokenizer.json cannot tell; "
            "train it with both, as mT5's, or with neither"
        )
    if proto.trainer_spec.eos_id < 0:
        raise ValueError("the SentencePiece file has no end of a text (eos_id=-1); train it with one, as mT5's </s>")


def _added_token(number: int, content: str) -> dict[str, Json]:
    flags: dict[str, Json] = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": content, **flags, "special": True}


def _prefix(proto: SentencePieceFile, scheme: str) -> str:
    return scheme if proto.normalizer_spec.add_dummy_prefix else "never"


def _normalizers(proto: SentencePieceFile) -> list[Json]:
    steps: list[Json] = []
    charsmap = proto.normalizer_spec.precompiled_charsmap
    if charsmap:
        steps.append({"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap).decode()})
        if "nfkc" in proto.normalizer_spec.name:
            steps = [*_compose(), _replace(_BEFORE_MARKS, _BARRIER), *steps, _replace_string(_BARRIER, "")]
    if proto.normalizer_spec.remove_extra_whitespaces:
        steps += [_replace(" {2,}", " "), _replace(r" \z", "")]
    if proto.normalizer_spec.add_dummy_prefix:
        steps.append(_replace(r"\A▁", " ▁"))  # a mark of the text's own does not stand for the one put before it
    return steps


def _compose() -> list[Json]:
    """What ``Precompiled`` cannot do: it maps whole graphemes or single characters, not the longest beginning.

    On graphemes it drops marks, and it composes neither kana nor jamo. So NFKC composes, and ``Precompiled`` gets
    single characters. But NFKC also puts marks in order, which SentencePiece does not: those of scripts that compose
    no two marks are kept apart.
    """
    hide = [_replace_string(*pair) for pair in zip(_KEPT, _HIDDEN, strict=True)]
    show = [_replace_string(*pair) for pair in zip(_HIDDEN, _KEPT, strict=True)]
    apart = _replace(_BETWEEN_MARKS, _BARRIER)
    return [*hide, apart, {"type": "NFKC"}, _replace_string(_BARRIER, ""), *show]


def _replace_string(text: str, content: str) -> dict[str, Json]:
    return {"type": "Replace", "pattern": {"String": text}, "content": content}


def _replace(pattern: str, content: str) -> dict[str, Json]:
    return {"type": "Replace", "pattern": {"Regex": pattern}, "content": content}


def _pre_tokenizers(proto: SentencePieceFile) -> list[Json]:
    metaspace: dict[str, Json] = {
        "type": "Metaspace",
        "replacement": "▁",
        # Not "always", which would put a space behind each sentinel.
        "prepend_scheme": _prefix(proto, "first"),
        "split": True,
    }
    breaks = _breaks(proto)
    if not breaks:
        return [metaspace]
    split: dict[str, Json] = {
        "type": "Split",
        "pattern": {"Regex": "|".join(breaks)},
        "behavior": "MergedWithPrevious",
        "invert": False,
    }
    return [split, metaspace]


def _breaks(proto: SentencePieceFile) -> list[str]:
    """Where to cut what spells a reserved piece, so that text never becomes one, as in SentencePiece.

    tokenizers looks for all pieces in a text, SentencePiece not for bytes, control and unknown pieces. A cut between
    two characters that no other piece holds side by side changes nothing else.
    """
    ordinary = "\n".join(piece.piece for piece in proto.pieces if piece.type == PieceType.NORMAL)
    spelled = [(piece.piece, "") for piece in proto.pieces if piece.type in _RESERVED]
    if proto.trainer_spec.byte_fallback:
        spelled.append(("<0x", "[0-9A-F]{2}>"))
    if sentinel_pieces(proto):
        spelled.append(("<extra_id_", r"\d+>"))
    found = (_break(beginning, rest, ordinary) for beginning, rest in spelled)
    return [pattern for pattern in found if pattern is not None]


def _break(beginning: str, rest: str, ordinary: str) -> str | None:
    for at in range(len(beginning) - 1, 0, -1):
        if beginning[at - 1 : at + 1] not in ordinary:
            return f"{re.escape(beginning[:at])}(?={re.escape(beginning[at:])}{rest})"
    return None


def _end_of_sequence(proto: SentencePieceFile) -> dict[str, Json]:
    end = proto.trainer_spec.eos_id
    name = proto.pieces[end].piece
    last: Json = {"SpecialToken": {"id": name, "type_id": 0}}
    texts: Sequence[Json] = [{"Sequence": {"id": text, "type_id": 0}} for text in "AB"]
    return {
        "type": "TemplateProcessing",
        "single": [texts[0], last],
        "pair": [texts[0], last, texts[1], last],
        "special_tokens": {name: {"id": name, "ids": [end], "tokens": [name]}},
    }
