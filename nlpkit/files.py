"""Writing files and folders so that whatever kills the writer leaves the old or the new, and one writer at a time."""

from __future__ import annotations

import ctypes
import errno
import fnmatch
import hashlib
import json
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

if sys.platform != "win32":  # there, drafts of dead processes stay
    import fcntl


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
    with _draft(target, target.parent) as draft:
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
    except ValueError as error:
        raise ValueError(f"{path} is damaged or cut off: it is not valid JSON ({error}); write it again") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} must hold a JSON object; it holds a {type(value).__name__}")
    return value


@contextmanager
def whole_folder(destination: str | Path, *, replacing: Sequence[str] = ()) -> Iterator[Path]:
    """A temporary folder whose files become those of ``destination`` at once, when the block ends without an error.

    Other files in ``destination`` stay. Whatever ends the process, ``destination`` is all old or all new: the draft,
    into which the files that stay are linked, changes place with it in one system call.

    Args:
        destination: folder to write to; made if it does not exist.
        replacing: patterns of names at the top of ``destination`` that do not stay, even if the block writes no file
            of that name: the shards of older weights, for example (``WEIGHTS``).

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
    if any(_DRAFT.fullmatch(part) for part in target.parts):  # the outer save makes it whole
        target.mkdir(parents=True, exist_ok=True)
        yield target
        return
    with _draft(target, _home_of_drafts(target)) as draft:
        yield draft
        _publish(draft, target, replacing)


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
        raise BlockingIOError(
            f"process {holder} is writing to {folder}; wait for it to end, or give another folder"
        ) from None
    try:
        path.write_text(str(os.getpid()))
        yield
    finally:
        lock.release()


#: For ``replacing``: weights in every form that ``from_pretrained`` looks for.
WEIGHTS = ("model*.safetensors", "model.safetensors.index.json", "pytorch_model*.bin", "pytorch_model.bin.index.json")

_MARK = ".draft-"
_DRAFT = re.compile(r"\..+\.draft-[0-9a-f]{12}", re.DOTALL)
_LONGEST_NAME = 255  # bytes, on the usual file systems
_RENAME_EXCHANGE = 2  # linux/fs.h; macOS' RENAME_SWAP is 2, too
_AT_FDCWD = -100  # Linux: a relative path is one from the working directory


@contextmanager
def _draft(target: Path, home: Path) -> Iterator[Path]:
    """A locked folder in ``home``, removed at the end; those that dead processes left are removed first."""
    home.mkdir(parents=True, exist_ok=True)
    name = _draft_name(target.name)
    for left in home.glob(f"{escape(name)}*"):
        with suppress(OSError), _locked(left):
            shutil.rmtree(left, ignore_errors=True)
    with ExitStack() as stack:
        draft = _new_draft(home / name, stack)
        try:
            yield draft
        except Exception as error:
            # Rust's errors, such as safetensors', carry the system's number in their text only.
            number = re.search(r"\(os error (\d+)\)", str(error))
            if number is None or isinstance(error, OSError):
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(target)) from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _draft_name(name: str) -> str:
    """What the names of all drafts of one target begin with; ``secrets.token_hex(6)`` follows."""
    room = _LONGEST_NAME - len(f".{_MARK}") - 12
    content = os.fsencode(name)
    if len(content) > room:  # two names that begin alike must not share drafts
        digest = hashlib.blake2b(content, digest_size=8).hexdigest()
        name = f"{content[: room - len(digest)].decode(errors='ignore')}{digest}"
    return f".{name}{_MARK}"


def _home_of_drafts(target: Path) -> Path:
    """Where a folder's draft lies: beside it, or in it where it cannot change places with anything beside it."""
    if target.is_dir() and (target.is_mount() or not os.access(target.parent, os.W_OK)):
        return target
    return target.parent


def _new_draft(beginning: Path, stack: ExitStack) -> Path:
    """A new folder whose path begins so, locked until the stack unwinds."""
    while True:
        draft = beginning.with_name(f"{beginning.name}{secrets.token_hex(6)}")
        draft.mkdir()
        with suppress(FileNotFoundError, BlockingIOError):  # another writer took it, unlocked still, for a dead one's
            stack.enter_context(_locked(draft))
            return draft


@contextmanager
def _locked(folder: Path, wait: bool = False) -> Iterator[None]:
    """Hold a folder itself, which the system lets go of when the process ends.

    Raises:
        OSError: another process holds it, or it is gone.
    """
    if sys.platform == "win32":
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        if not os.path.samestat(os.fstat(handle), folder.stat()):
            raise FileNotFoundError(errno.ENOENT, "exchanged", str(folder))
        yield
    finally:
        os.close(handle)


def _publish(draft: Path, target: Path, replacing: Sequence[str]) -> None:
    """Put a draft in the place of its target, of which other files stay."""
    while True:
        try:
            if not target.exists():
                draft.rename(target)
                return
            with _locked(target, wait=True):
                if draft.parent == target:
                    _replace_one_by_one(draft, target, replacing)
                    return
                draft.chmod(target.stat().st_mode)
                _link(target, draft, replacing)
                if _exchange(draft, target):
                    _link(draft, target, replacing)  # what others put into the old folder since
                else:
                    _replace_one_by_one(draft, target, replacing)
                return
        except OSError as error:
            # Another writer was faster: what was missing is there now, or what was locked is no longer the target.
            gone = not target.exists() or not draft.exists()
            if gone or error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
                raise


def _link(source: Path, draft: Path, left_out: Sequence[str] = ()) -> None:
    """Give a draft the files of the older folder that it lacks."""
    for entry in os.scandir(source):
        copy = draft / entry.name
        if any(fnmatch.fnmatchcase(entry.name, pattern) for pattern in left_out):
            continue
        if entry.is_dir(follow_symlinks=False):
            if not copy.exists():
                copy.mkdir()
                shutil.copystat(entry, copy)
            _link(Path(entry), copy)
        elif not os.path.lexists(copy):
            try:
                os.link(entry, copy, follow_symlinks=False)
            except OSError:  # a file system without hard links
                shutil.copy2(entry, copy, follow_symlinks=False)


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change places in one step; False where the system cannot."""
    if sys.platform == "win32":
        return False
    libc = ctypes.CDLL(None)
    names = os.fsencode(one), os.fsencode(other)
    here = _working_directory()
    if sys.platform == "darwin":
        failed = libc.renamex_np(*names, _RENAME_EXCHANGE)
    elif hasattr(libc, "renameat2"):
        failed = libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE)
    else:
        return False
    if not failed and here is not None and here.is_relative_to(other) and here.is_dir():
        os.chdir(here)  # else this process would stand in the old folder, which is deleted next
    return not failed


def _working_directory() -> Path | None:
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None


def _replace_one_by_one(draft: Path, target: Path, replacing: Sequence[str]) -> None:
    written = {path.name for path in draft.iterdir()}
    for source in sorted(path for path in draft.rglob("*") if not path.is_dir()):
        place = target / source.relative_to(draft)
        place.parent.mkdir(parents=True, exist_ok=True)
        source.replace(place)
    for entry in target.iterdir():
        if entry.name not in written and any(fnmatch.fnmatchcase(entry.name, pattern) for pattern in replacing):
            entry.unlink()
