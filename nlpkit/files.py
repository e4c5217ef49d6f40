"""Writing files and folders so that an interruption or a full disk leaves nothing half-written."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(destination: str | Path) -> Iterator[Path]:
    """A temporary folder whose files move to ``destination`` only when the block ends without an error.

    Files of the same name are replaced one by one, each at once; other files in ``destination`` stay.

    Args:
        destination: folder to write to; made if it does not exist.

    Yields:
        The folder to write into, on the same file system.

    Raises:
        NotADirectoryError: ``destination`` is a file.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with written_whole(folder) as draft:
        ...         _ = (draft / "a.txt").write_text("whole")
        ...     (Path(folder) / "a.txt").read_text()
        'whole'
    """
    destination = Path(destination)
    if destination.exists() and not destination.is_dir():
        raise NotADirectoryError(f"{destination} is a file; give a folder to write to")
    destination.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{destination.name}-", dir=destination.parent))
    try:
        yield draft
        for source in sorted(path for path in draft.rglob("*") if path.is_file()):
            target = destination / source.relative_to(draft)
            target.parent.mkdir(parents=True, exist_ok=True)
            source.replace(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
