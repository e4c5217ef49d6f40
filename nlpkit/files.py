"""Writing files and folders so that whatever kills the writer leaves the old or the new, and one writer at a time."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from nlpkit.drafts import home_of_drafts, in_a_draft, new_draft, publish

#: Weights of a whole model, in every form that ``from_pretrained`` looks for.
WEIGHTS = ("model*.safetensors", "model.safetensors.index.json", "pytorch_model*.bin", "pytorch_model.bin.index.json")
#: For ``replacing``: what is saved of a model, or of an adapter or a ladder, which are looked for first.
SAVED_MODEL = (*WEIGHTS, "config.json", "adapter_config.json", "adapter_model*")


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A temporary file beside ``path`` that takes its place, at once, when the block ends without an error.

    Args:
        path: the file to write; its folder is made if it does not exist.

    Yields:
        The path to write to. It ends as ``path`` does, so that writers that go by the suffix are content.

    Raises:
        IsADirectoryError: ``path`` is a folder.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     with whole_file(Path(folder, "a.txt")) as draft:
        ...         _ = draft.write_text("whole")
        ...     Path(folder, "a.txt").read_text()
        'whole'
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give a file to write to")
    target = path.resolve()  # a link stays a link, to the new content
    if target.exists() and not target.is_file():  # a device or a pipe, such as /dev/stdout: nothing to replace
        yield target
        return
    with new_draft(target, target.parent) as draft:
        yield draft / target.name
        if target.exists():
            shutil.copymode(target, draft / target.name)
        (draft / target.name).replace(target)


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 text file, whole or not at all.

    Args:
        path: the file; its folder is made if it does not exist.
        text: its content; line ends are written as they are.
    """
    with whole_file(path) as draft:
        draft.write_text(text, encoding="utf-8", newline="")


def write_json(path: str | Path, value: Any) -> None:
    """Write a JSON file, whole or not at all: UTF-8, indented, with a newline at its end.

    Args:
        path: the file; its folder is made if it does not exist.
        value: what ``json.dumps`` takes.
    """
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Args:
        path: the file.

    Returns:
        The object.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is no JSON object; the message names it.
    """
    try:
        value = json.loads(Path(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged or cut off: it is not valid JSON ({error}); write it again") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} must hold a JSON object; it holds a {type(value).__name__}")
    return value


#: Patterns of names that do not stay, for each draft that is being written: those of saves within it, too.
_REPLACING: dict[Path, set[str]] = {}


@contextmanager
def whole_folder(destination: str | Path, *, replacing: Sequence[str] = ()) -> Iterator[Path]:
    """A temporary folder whose files become those of ``destination`` at once, when the block ends without an error.

    Other files in ``destination`` stay. Whatever ends the process, ``destination`` is all old or all new: the draft,
    into which the files that stay are linked, changes place with it in one system call.

    Args:
        destination: folder to write to; made if it does not exist.
        replacing: patterns of names at the top of ``destination`` that do not stay, even if the block writes no file
            of that name: the shards of older weights, for example (``SAVED_MODEL``).

    Yields:
        The folder to write into, on the same file system.

    Raises:
        NotADirectoryError: ``destination`` is a file.

    Note:
        Where the system cannot exchange two folders (neither Linux nor macOS, ``destination`` is a mount point, or its
        parent is read-only), files are replaced one by one. A shell that stands in ``destination`` must enter it
        again (``cd .``).

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as parent:
        ...     with whole_folder(Path(parent, "model")) as draft:
        ...         _ = (draft / "a.txt").write_text("whole")
        ...     Path(parent, "model", "a.txt").read_text()
        'whole'
    """
    if Path(destination).exists() and not Path(destination).is_dir():
        raise NotADirectoryError(f"{destination} is a file; give a folder to write to")
    target = Path(destination).resolve()
    if in_a_draft(target):  # the outer save makes it whole
        target.mkdir(parents=True, exist_ok=True)
        _REPLACING.get(target, set()).update(replacing)
        yield target
        return
    with new_draft(target, home_of_drafts(target)) as draft:
        _REPLACING[draft] = set(replacing)
        try:
            yield draft
            publish(draft, target, sorted(_REPLACING[draft]))
        finally:
            del _REPLACING[draft]


def refuse_saved_model(folder: Path) -> None:
    """Refuse to write a model where there is one.

    Raises:
        FileExistsError: there is one, or a file.
    """
    if folder.is_file() or (folder / "config.json").exists():
        kind = "is a file" if folder.is_file() else "holds a model already"
        raise FileExistsError(f"{folder} {kind}; give another folder")


@contextmanager
def only_writer(folder: str | Path) -> Iterator[None]:
    """Hold an output folder or a cache: no other process writes to it meanwhile.

    Args:
        folder: made if it does not exist; its file ``.lock`` names the process that holds it, and stays.

    Raises:
        BlockingIOError: another process holds it; the message tells which.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder, only_writer(folder):
        ...     Path(folder, ".lock").read_text() == str(os.getpid())
        True
    """
    path = Path(folder) / ".lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        holder = path.read_text(errors="replace") or "(unknown)"
        if holder == str(os.getpid()):
            raise BlockingIOError(f"this process is writing to {folder} already; give another folder") from None
        raise BlockingIOError(
            f"process {holder} is writing to {folder}; wait for it to end, or give another folder"
        ) from None
    try:
        path.write_text(str(os.getpid()))
        yield
    finally:
        lock.release()
