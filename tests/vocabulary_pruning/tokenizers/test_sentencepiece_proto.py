from __future__ import annotations

import json
from pathlib import Path

import pytest
from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2

from nlpkit.sentencepiece_file import PieceType, read_sentencepiece
from nlpkit.vocabulary_pruning.tokenizers.sentencepiece_proto import pruned_sentencepiece
from tests.mt5.sentencepiece_files import train_file


@pytest.mark.shared
def test_the_released_chinese_file_comes_out_of_one_with_all_of_mt5s_ids(shared_models: Path) -> None:
    """Its own pieces at the places of the released list, other pieces at the 217,504 other places."""
    released = read_sentencepiece(shared_models / "vocab" / "mt5-cn-pruned.spiece.model")
    places = json.loads((shared_models / "vocab" / "mt5-cn-pruned.keep_tokens.json").read_text())
    whole = sentencepiece_model_pb2.ModelProto()
    whole.CopyFrom(released)
    del whole.pieces[:]
    at_place = dict(zip(places, released.pieces, strict=False))  # two places are rows without a piece
    for number in range(250_100):
        whole.pieces.add().CopyFrom(at_place.get(number) or whole.SentencePiece(piece=f"other {number}", score=-9.0))
    names = {piece.piece for piece in released.pieces if piece.type == PieceType.NORMAL}
    names |= {f"<extra_id_{number}>" for number in range(100)}
    assert pruned_sentencepiece(whole, names) == released.SerializeToString()


def test_texts_whose_pieces_are_kept_are_cut_as_before(tmp_path: Path) -> None:
    proto = read_sentencepiece(train_file(tmp_path, sentinels=2))
    before = SentencePieceProcessor(model_file=str(tmp_path / "spiece.model"))
    texts = ["天气很好。", "the hotel <extra_id_1>"]
    names = {piece for text in texts for piece in before.encode(text, out_type=str)}
    lowest = min((piece for piece in proto.pieces if piece.type == PieceType.NORMAL), key=lambda piece: piece.score)
    (tmp_path / "cut.model").write_bytes(pruned_sentencepiece(proto, names | {lowest.piece, "<extra_id_0>"}))
    after = SentencePieceProcessor(model_file=str(tmp_path / "cut.model"))
    assert after.get_piece_size() < before.get_piece_size() - 50
    assert [after.encode(text, out_type=str) for text in texts] == [
        before.encode(text, out_type=str) for text in texts
    ]
    assert after.id_to_piece(after.get_piece_size() - 1) in ("▁<extra_id_0>", lowest.piece)
    assert (after.pad_id(), after.eos_id(), after.unk_id()) == (0, 1, 2)
