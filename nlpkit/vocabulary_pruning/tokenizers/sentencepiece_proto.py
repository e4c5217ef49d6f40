"""SentencePiece files with fewer pieces."""

from __future__ import annotations

from collections.abc import Collection

from sentencepiece import sentencepiece_model_pb2

from nlpkit.sentencepiece_file import PieceType, SentencePieceFile

_ALWAYS = (PieceType.UNKNOWN, PieceType.CONTROL, PieceType.BYTE)


def pruned_sentencepiece(proto: SentencePieceFile, names: Collection[str]) -> bytes:
    """The bytes of a SentencePiece file with some of its pieces, in their order; all else stays as it was.

    Args:
        proto: the file; it stays as it is.
        names: of the kept tokens. Control, unknown and byte pieces stay whatever is named; a sentinel may be named as
            transformers names it, without ``▁``.
    """
    kept = [
        piece
        for piece in proto.pieces
        if piece.type in _ALWAYS
        or piece.piece in names
        or (piece.type == PieceType.USER_DEFINED and piece.piece.removeprefix("▁") in names)
    ]
    pruned = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
    pruned.CopyFrom(proto)
    del pruned.pieces[:]
    pruned.pieces.extend(kept)
    content: bytes = pruned.SerializeToString()
    return content
