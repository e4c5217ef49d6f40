"""Drafts: locked folders beside what is to be written, which take its place at once."""

from __future__ import annotations

import ctypes
import errno
import fnmatch
import hashlib
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from glob import escape
from pathlib import Path

if sys.platform != "win32":  # there, drafts of dead processes stay
    import fcntl

_MARK = ".draft-"
_DRAFT = re.compile(r"\..+\.draft-[0-9a-f]{12}", re.DOTALL)
_LONGEST_NAME = 255  # bytes, on the usual file systems
_RENAME_EXCHANGE = 2  # linux/fs.h; macOS' RENAME_SWAP is 2, too
_AT_FDCWD = -100  # Linux: a relative path is one from the working directory


def in_a_draft(path: Path) -> bool:
    """Whether a path lies in a draft, whose own writer makes it whole."""
    return any(_DRAFT.fullmatch(part) for part in path.parts)


def home_of_drafts(target: Path) -> Path:
    """Where a folder's draft lies: beside it, or in it where it cannot change places with anything beside it."""
    if target.is_dir() and (target.is_mount() or not os.access(target.parent, os.W_OK)):
        return target
    return target.parent


@contextmanager
def new_draft(target: Path, home: Path) -> Iterator[Path]:
    """A locked folder for what ``target`` is to hold, removed at the end; those that dead processes left go first.

    Errors of the system name the target, which the user gave, and not the draft.

    Args:
        target: the file or folder to be written.
        home: folder in which the draft lies; made if it does not exist.

    Yields:
        The draft, empty.
    """
    home.mkdir(parents=True, exist_ok=True)
    name = _draft_name(target.name)
    for left in home.glob(f"{escape(name)}*"):
        with suppress(OSError), _locked(left):
            shutil.rmtree(left, ignore_errors=True)
    with _errors_of(target, str(home / name)), ExitStack() as stack:
        draft = _lock_new(home / name, stack)
        try:
            yield draft
        finally:
            shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def _errors_of(target: Path, beginning: str) -> Iterator[None]:
    """Let errors of the system that name a path with this beginning name the target."""
    try:
        yield
    except OSError as error:
        named = [os.fsdecode(one) for one in (error.filename, error.filename2) if isinstance(one, str | bytes | Path)]
        if error.errno is None or not any(one.startswith(beginning) for one in named):
            raise
        raise OSError(error.errno, error.strerror, str(target)) from error
    except Exception as error:
        # Rust's errors, such as safetensors', carry the system's number in their text only.
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(target)) from error


def publish(draft: Path, target: Path, replacing: Sequence[str]) -> None:
    """Put a draft in the place of its target, of which other files stay.

    Args:
        draft: as ``new_draft`` yields it.
        target: the folder to be written.
        replacing: patterns of names at the top of ``target`` that do not stay.
    """
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


def _draft_name(name: str) -> str:
    """What the names of all drafts of one target begin with; ``secrets.token_hex(6)`` follows."""
    room = _LONGEST_NAME - len(f".{_MARK}") - 12
    content = os.fsencode(name)
    if len(content) > room:  # two names that begin alike must not share drafts
        digest = hashlib.blake2b(content, digest_size=8).hexdigest()
        name = f"{content[: room - len(digest)].decode(errors='ignore')}{digest}"
    return f".{name}{_MARK}"


def _lock_new(beginning: Path, stack: ExitStack) -> Path:
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
