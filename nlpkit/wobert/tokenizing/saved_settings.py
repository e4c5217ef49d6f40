"""What a saved tokenizer's ``tokenizer_config.json`` says, checked before anything is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from nlpkit.files import read_json, write_json
from nlpkit.wobert.words.segmenters import Segmenter, describe
from nlpkit.wobert.words.vocabulary_file import read_vocabulary

#: How many lines ``vocab.txt`` had when it was saved, by which one that was cut off is known.
SIZE = "vocabulary_size"

#: What names files or holds their content: a folder's own files are read, whatever its settings say.
_FILES = frozenset({"vocab", "merges", "user_dict", "tokenizer_object", "init_inputs", "name_or_path"})


def read_settings(path: Path) -> dict[str, Any]:
    """Read ``tokenizer_config.json``.

    Args:
        path: the file.

    Returns:
        The settings, without those that name other files.

    Raises:
        ValueError: the file is no JSON object, or what it says of the segmenter or of added tokens is broken; the
            message names the file.
    """
    settings = {
        name: value for name, value in read_json(path).items() if name not in _FILES and not name.endswith("_file")
    }
    _check_segmenter(settings.get("segmenter", "rjieba"), path)
    added = settings.get("added_tokens_decoder", {})
    try:
        for number, token in added.items():
            int(number), AddedToken(**token), token["content"]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: added_tokens_decoder must map ids to the fields of tokens ({error!r}); save the tokenizer again"
        ) from error
    return settings


def check_size(settings: Mapping[str, Any], vocabulary_file: str | None) -> None:
    """Refuse a ``vocab.txt`` that holds fewer tokens than were saved.

    Args:
        settings: as ``read_settings`` returns them.
        vocabulary_file: the vocabulary beside them, if any.

    Raises:
        ValueError: it was cut off; the message names the file.
    """
    saved = settings.get(SIZE)
    if vocabulary_file is None or not isinstance(saved, int):
        return
    found = len(read_vocabulary(vocabulary_file))
    in_a_line = found == saved and not Path(vocabulary_file).read_bytes().endswith(b"\n")
    if found < saved or in_a_line:
        raise ValueError(
            f"{vocabulary_file} is cut off: it holds {found - in_a_line} whole lines, but {saved} were saved; "
            "copy it again"
        )


def check_tokenizer_file(path: Path) -> None:
    """Refuse a ``tokenizer.json`` that cannot be read, before its faults are taken for those of the settings.

    Args:
        path: the file, from which the vocabulary is to be taken.

    Raises:
        ValueError: it is damaged or cut off; the message names it.
    """
    read_json(path)
    try:
        Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises nothing more special
        raise ValueError(f"{path} holds no tokenizer ({error}); save the tokenizer again") from error


def complete_settings(
    path: Path, segmenter: Segmenter, added_tokens: Mapping[int, AddedToken], vocabulary_size: int
) -> None:
    """Add to ``tokenizer_config.json`` what transformers leaves out of it.

    Args:
        path: the file, as transformers wrote it.
        segmenter: what cuts texts into words.
        added_tokens: the tokens that are looked for in texts, by id.
        vocabulary_size: tokens in ``vocab.txt``.
    """
    settings = read_json(path)
    settings["segmenter"] = describe(segmenter)
    settings["added_tokens_decoder"] = {str(number): token.__getstate__() for number, token in added_tokens.items()}
    settings[SIZE] = vocabulary_size
    write_json(path, dict(sorted(settings.items())))


def _check_segmenter(segmenter: Any, path: Path) -> None:
    if isinstance(segmenter, str):
        return
    if not isinstance(segmenter, dict) or not isinstance(segmenter.get("name"), str):
        raise ValueError(
            f'{path}: segmenter must be an object with a name, such as {{"name": "rjieba"}}, not {segmenter!r}; '
            "save the tokenizer again"
        )
    if not isinstance(segmenter.get("hmm", False), bool):
        raise ValueError(f"{path}: hmm of the segmenter must be true or false, not {segmenter['hmm']!r}")
    words = path.with_name("user_dict.txt")
    if segmenter.get("user_words") is not None and not words.is_file():
        raise ValueError(f"{path} names a user dictionary, but there is no {words}; copy it from where it was saved")
