from __future__ import annotations

from pathlib import Path

import pytest

from nlpkit.vocabulary_pruning import IdMap


def test_saved_maps_come_back_and_broken_ones_are_named(tmp_path: Path) -> None:
    ids = IdMap((0, 3, 4), 9, "abc")
    ids.save(tmp_path)
    assert IdMap.load(tmp_path) == ids
    assert ids.new_ids == {0: 0, 3: 1, 4: 2}
    with pytest.raises(FileNotFoundError, match=r"holds no id_map\.json"):
        IdMap.load(tmp_path / "none")
    for broken in ('{"kept": [3, 2], "old_rows": 9, "old_tokenizer_sha256": ""}', '{"kept": [1]}', "{"):
        (tmp_path / "id_map.json").write_text(broken)
        with pytest.raises(ValueError, match="is damaged"):
            IdMap.load(tmp_path)
