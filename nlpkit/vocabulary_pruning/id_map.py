"""Which old id each new one was, as a file beside the model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nlpkit.files import read_json, write_json

FILE = "id_map.json"


@dataclass(frozen=True)
class IdMap:
    """The ids that were kept, ascending; the place of each is its new id.

    Args:
        kept: old ids.
        old_rows: of the model before.
        old_tokenizer: SHA-256 of the old ``tokenizer.json``, as ``fingerprint`` gives it.

    Example:
        >>> ids = IdMap((0, 2, 5), 7, "")
        >>> ids.new_ids
        {0: 0, 2: 1, 5: 2}
    """

    kept: tuple[int, ...]
    old_rows: int
    old_tokenizer: str

    @property
    def new_ids(self) -> dict[int, int]:
        """New ids by old ones."""
        return {old: new for new, old in enumerate(self.kept)}

    def save(self, folder: str | Path) -> None:
        """Write ``id_map.json``."""
        facts = {"old_rows": self.old_rows, "old_tokenizer_sha256": self.old_tokenizer, "kept": list(self.kept)}
        write_json(Path(folder) / FILE, facts)

    @classmethod
    def load(cls, folder: str | Path) -> IdMap:
        """Read ``id_map.json``.

        Raises:
            FileNotFoundError: the folder has none.
            ValueError: it is damaged.
        """
        path = Path(folder) / FILE
        if not path.is_file():
            raise FileNotFoundError(f"{folder} holds no {FILE}; it is not the folder of a pruned model")
        facts = read_json(path)
        try:
            found = cls(tuple(map(int, facts["kept"])), int(facts["old_rows"]), str(facts["old_tokenizer_sha256"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is damaged: {error!r}; copy it again") from error
        if list(found.kept) != sorted(set(found.kept)) or not found.kept or found.kept[-1] >= found.old_rows:
            raise ValueError(f"{path} is damaged: its ids do not ascend below {found.old_rows}; copy it again")
        return found


def fingerprint(content: Mapping[str, Any]) -> str:
    """SHA-256 of the content of a ``tokenizer.json``, but for truncation and padding, which each call sets anew."""
    lasting = {name: value for name, value in content.items() if name not in ("truncation", "padding")}
    return hashlib.sha256(json.dumps(lasting, ensure_ascii=False, sort_keys=True).encode()).hexdigest()
