"""What a folder of results was made with, so that nothing made with other settings is ever added to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nlpkit.files import read_json, write_json


def settle_facts(path: str | Path, facts: Mapping[str, Any], *, begins: bool) -> None:
    """Write down what a run, a cache or a table is made with, or see that it is what was written down before.

    Args:
        path: a JSON file in the folder of the results, ``run.json`` for example.
        facts: what must not change as long as results are added to the folder, as JSON values: all of it, since a
            fact that is missing on either side differs, unless it is ``None`` on the other.
        begins: whether the folder holds no result yet, so that facts written down before count for nothing.

    Raises:
        ValueError: a fact differs from the one written down; the message names all that do. Or there are results, and
            the file is gone.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     settle_facts(Path(folder, "run.json"), {"seed": 1}, begins=True)
        ...     settle_facts(Path(folder, "run.json"), {"seed": 2}, begins=False)
        Traceback (most recent call last):
        ValueError: ... holds results made with other settings: seed was 1 and is now 2. Restore it, or give ...
    """
    path = Path(path)
    if begins:
        write_json(path, facts)
        return
    if not path.exists():
        raise ValueError(
            f"{path.parent} holds results, and {path.name}, which tells what they were made with, is gone: put it "
            "back, or give another folder"
        )
    before, now = read_json(path), json.loads(json.dumps(facts))
    changed = [
        f"{name} was {before.get(name)!r} and is now {now.get(name)!r}"
        for name in {**now, **before}
        # By their text, in which a NaN is what it was.
        if json.dumps(before.get(name), sort_keys=True) != json.dumps(now.get(name), sort_keys=True)
    ]
    if changed:
        raise ValueError(
            f"{path.parent} holds results made with other settings: {'; '.join(changed)}. "
            f"Restore {'it' if len(changed) == 1 else 'them'}, or give another folder"
        )
