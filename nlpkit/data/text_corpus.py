"""Raw text files as training material: one paragraph per line, one domain per file, some runs of lines held out."""

from __future__ import annotations

import glob
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from nlpkit.sources import expand_home
from nlpkit.text_files import read_lines

_SUFFIXES = (".txt", ".gz", ".xz")


def find_text_files(patterns: list[str], suffixes: Sequence[str] = _SUFFIXES) -> list[Path]:
    """Resolve globs of text files.

    Args:
        patterns: paths or globs of ``.txt``, ``.txt.gz`` or ``.txt.xz`` files.
        suffixes: the last ones that names may have.

    Returns:
        The files, sorted and without repetition.

    Raises:
        FileNotFoundError: a pattern matches no file.
        ValueError: no pattern is given, or a file is of another kind.
    """
    if not patterns:
        raise ValueError("no text files are given; name at least one .txt, .txt.gz or .txt.xz file")
    found: set[Path] = set()
    for pattern in patterns:
        # Not Path.glob, which refuses absolute patterns.
        matches = [Path(match) for match in glob.glob(str(expand_home(pattern)), recursive=True)]  # noqa: PTH207
        if not matches:
            raise FileNotFoundError(f"no file matches {pattern!r}")
        found.update(matches)
    for path in sorted(found):
        if path.suffix.lower() not in suffixes or not path.is_file():
            raise ValueError(f"{path} is not a text file of a known kind: {', '.join(suffixes)}")
    return sorted(found)


def domain_of(path: Path) -> str:
    """The name of a file's domain: the file name up to the first dot.

    Example:
        >>> domain_of(Path("corpus/news.txt.xz"))
        'news'
    """
    return path.name.split(".")[0]


def read_runs(path: Path, run_lines: int, keep: Callable[[int], bool]) -> Iterator[str]:
    """Read those runs of consecutive lines of a file that a rule keeps; blank lines are left out.

    Runs rather than single lines, because neighbouring lines are mostly of one document: a held-out line whose
    neighbours are trained on says little about new text.

    Args:
        path: the file.
        run_lines: lines per run.
        keep: the rule, given the number of a run, from 0.

    Returns:
        The lines.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "letters.txt")
        >>> _ = path.write_text("\\n".join("abcdef"), encoding="utf-8")
        >>> list(read_runs(path, run_lines=2, keep=lambda run: run % 2 == 0))
        ['a', 'b', 'e', 'f']
    """
    return (line for run in read_whole_runs(path, run_lines, keep) for line in run)


def read_whole_runs(path: Path, run_lines: int, keep: Callable[[int], bool]) -> Iterator[list[str]]:
    """Read as ``read_runs`` does, one run at a time: the lines of a run are neighbours.

    Args:
        path: the file.
        run_lines: lines per run.
        keep: the rule, given the number of a run, from 0.

    Returns:
        The lines of each run; runs of blank lines are left out.
    """
    for number, run in groupby(enumerate(read_lines(path)), key=lambda numbered: numbered[0] // run_lines):
        lines = [line for _, line in run if line and not line.isspace()] if keep(number) else []
        if lines:
            yield lines


def read_sample(files: Iterable[Path], shares: Mapping[str, float]) -> Iterator[str]:
    """Read the non-blank lines of several files, of some domains only an evenly spread share.

    Args:
        files: the files.
        shares: domain to the share of its lines to read, in (0, 1]; domains not named are read whole.

    Returns:
        The lines, file by file.

    Raises:
        ValueError: a share out of range, or of a domain that no file is of; or a file cannot be read.
    """
    files = list(files)
    for domain, share in shares.items():
        if not 0 < share <= 1 or domain not in map(domain_of, files):
            raise ValueError(
                f"share {domain}={share}: must be of one of {sorted(set(map(domain_of, files)))} and in (0, 1]"
            )
    for path in files:
        share = shares.get(domain_of(path), 1.0)
        for number, line in enumerate(read_lines(path)):
            if line.strip() and int((number + 1) * share) > int(number * share):
                yield line


def draw_lines(lines: Iterable[str], limit: int, seed: int) -> list[str]:
    """At most so many lines, each with the same chance, without holding the others.

    Source: algorithm R (Vitter, *Random sampling with a reservoir*, 1985).

    Args:
        lines: any number of them.
        limit: lines to keep.
        seed: the same one draws the same lines.

    Example:
        >>> len(draw_lines(map(str, range(100)), limit=10, seed=0))
        10
    """
    draw, kept = random.Random(seed), list[str]()
    for number, line in enumerate(lines):
        if number < limit:
            kept.append(line)
        elif (place := draw.randrange(number + 1)) < limit:
            kept[place] = line
    return kept
