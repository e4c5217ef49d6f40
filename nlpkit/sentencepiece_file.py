"""SentencePiece's own file: the pieces of a vocabulary, how text is normalised, and how the vocabulary was trained."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from typing import Protocol

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from sentencepiece import sentencepiece_model_pb2


class PieceType(IntEnum):
    """What a piece is, by SentencePiece's numbers."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


class Piece(Protocol):
    """An entry of the vocabulary."""

    piece: str
    score: float
    type: int


class NormalizerSpec(Protocol):
    """How text is normalised before it is cut."""

    name: str
    precompiled_charsmap: bytes
    add_dummy_prefix: bool
    remove_extra_whitespaces: bool
    escape_whitespaces: bool


class TrainerSpec(Protocol):
    """How the vocabulary was trained."""

    model_type: int
    byte_fallback: bool
    treat_whitespace_as_suffix: bool
    unk_id: int
    bos_id: int
    eos_id: int
    pad_id: int


class SentencePieceFile(Protocol):
    """The content of a file; ``SerializeToString`` gives its bytes."""

    @property
    def pieces(self) -> Sequence[Piece]:
        """The vocabulary, in the order of ids."""

    @property
    def normalizer_spec(self) -> NormalizerSpec:
        """How text is normalised."""

    @property
    def trainer_spec(self) -> TrainerSpec:
        """How the vocabulary was trained."""

    def ParseFromString(self, serialized: bytes) -> int:  # noqa: N802
        """Take the content from a file's bytes."""

    def SerializeToString(self) -> bytes:  # noqa: N802
        """The file's bytes."""


#: ``trainer_spec.model_type`` of a Unigram vocabulary.
UNIGRAM = 1
#: Names under which models keep their SentencePiece file.
FILE_NAMES = ("spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "sentencepiece.model", "spm.model")


def read_sentencepiece(path: str | Path) -> SentencePieceFile:
    """Read a SentencePiece file.

    Args:
        path: usually ``spiece.model``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is something else, damaged or cut off.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    return parse_sentencepiece(path.read_bytes(), str(path))


def parse_sentencepiece(content: bytes, name: str) -> SentencePieceFile:
    """Read the bytes of a SentencePiece file.

    Args:
        content: the bytes.
        name: what errors call them.

    Raises:
        ValueError: they are something else, damaged or cut off.

    Example:
        >>> parse_sentencepiece(b"", "spiece.model")
        Traceback (most recent call last):
        ...
        ValueError: spiece.model is no SentencePiece file, or damaged (no pieces); copy it again
    """
    proto: SentencePieceFile = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
    reason = "no pieces"
    try:
        proto.ParseFromString(content)
    except DecodeError as error:
        reason = str(error)
    if len(proto.pieces) == 0 or reason != "no pieces":
        raise ValueError(f"{name} is no SentencePiece file, or damaged ({reason}); copy it again")
    return proto


def sentencepiece_of(folder: str | Path) -> Path | None:
    """The SentencePiece file in a model's folder; ``None`` where there is none."""
    found = (Path(folder) / name for name in FILE_NAMES)
    return next((path for path in found if path.is_file()), None)
