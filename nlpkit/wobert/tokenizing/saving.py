"""Saving a tokenizer with its segmenter, whole or not at all, and loading it from its own files only."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from transformers import TokenizersBackend

from nlpkit.files import read_json, whole_folder, write_text
from nlpkit.wobert.tokenizing.saved_settings import (
    check_size,
    check_tokenizer_file,
    complete_settings,
    read_settings,
)
from nlpkit.wobert.words.segmenters import JiebaSegmenter, RjiebaSegmenter, Segmenter
from nlpkit.wobert.words.vocabulary_file import write_vocabulary
from nlpkit.wobert.words.word_splitter import WordSplitter

#: What ``from_pretrained`` hands on beside the tokenizer's own arguments.
_OF_LOADING = {"token", "cache_dir", "local_files_only", "_is_local", "trust_remote_code"}

#: As ``auto_map=`` for folders of other models than WoBERT: beside some model types AutoTokenizer passes over
#: ``tokenizer_class``, unless ``auto_map`` names a class (transformers 5.20.0 read, 5.23.0 tried). The file that it
#: names is only run with ``trust_remote_code=True``.
AUTO_MAP = {"AutoTokenizer": ["wobert_tokenizer.WoBertTokenizer", None]}
_AUTO_FILE = "from nlpkit import WoBertTokenizer\n"

#: What would be read beside the files of a tokenizer that has none of them.
_OF_OTHERS = ("tokenizer.json", "user_dict.txt", "wobert_tokenizer.py")


class SavedWithSegmenter(TokenizersBackend):
    """The half of ``WoBertTokenizer`` that deals with folders."""

    _splitter: WordSplitter
    #: Without the vocabulary's words, which ``vocab.txt`` brings anyway.
    _own_segmenter: Segmenter

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | PathLike[str], *args: Any, **kwargs: Any) -> Any:
        """Load a tokenizer from a folder, a vocabulary file or the Hub, as every tokenizer of transformers does.

        Args:
            pretrained_model_name_or_path: folder, file, or repository.
            *args: as for ``PreTrainedTokenizerBase.from_pretrained``.
            **kwargs: likewise; also this class's own arguments, which override what was saved.

        Raises:
            ValueError: a file is damaged, cut off, or says what cannot be; the message names it.
        """
        settings = Path(pretrained_model_name_or_path, kwargs.get("subfolder") or "", "tokenizer_config.json")
        if settings.is_file():  # transformers would read it first, and name no file
            read_settings(settings)
        return super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)

    @classmethod
    def _from_pretrained(  # type: ignore[override]
        cls,
        resolved_vocab_files: dict[str, str | None],
        name: str,
        settings: dict[str, Any],
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        # Checked on transformers 5.23.0: what its `_from_pretrained` reads of the settings it takes as arguments.
        path = resolved_vocab_files.pop("tokenizer_config_file", None)
        if resolved_vocab_files.get("vocab_file") is not None:
            resolved_vocab_files.pop("tokenizer_file", None)  # of another tokenizer: this one saves none
        elif resolved_vocab_files.get("tokenizer_file") is not None:
            check_tokenizer_file(Path(str(resolved_vocab_files["tokenizer_file"])))
        if path is None:
            return super()._from_pretrained(resolved_vocab_files, name, settings, *args, **kwargs)
        settings = read_settings(Path(path))
        if kwargs.get("vocab") is None:
            check_size(settings, resolved_vocab_files.get("vocab_file"))
        settings.pop("tokenizer_class", None)
        try:
            return super()._from_pretrained(resolved_vocab_files, name, settings, *args, **kwargs)
        except (TypeError, ValueError) as error:
            if str(name) in str(error) or settings.keys() & (kwargs.keys() - _OF_LOADING):
                raise
            raise ValueError(f"{path}: {error}") from error

    def save_pretrained(self, save_directory: str | PathLike[Any], *args: Any, **kwargs: Any) -> tuple[str, ...]:
        """Save ``vocab.txt``, ``tokenizer_config.json`` and, with a user dictionary, ``user_dict.txt``, or nothing.

        With ``auto_map``, as ``wordify`` sets it, ``wobert_tokenizer.py`` goes with them: one line.

        Args:
            save_directory: folder, made if it does not exist. Without a prefix, what another tokenizer left in it
                and this one would read goes: ``tokenizer.json`` and ``user_dict.txt``.
            *args: those of every transformers tokenizer.
            **kwargs: likewise; with ``push_to_hub=True`` the repository is named after ``save_directory`` where no
                ``repo_id`` is given.

        Returns:
            The files written.
        """
        if kwargs.get("push_to_hub"):
            kwargs.setdefault("repo_id", Path(save_directory).name)
        prefix = kwargs.get("filename_prefix") or (args[1] if len(args) > 1 else None)
        with whole_folder(Path(save_directory), replacing=() if prefix else _OF_OTHERS) as draft:
            files = super().save_pretrained(str(draft), *args, **kwargs)
            written = sorted(Path(file).relative_to(draft) for file in files)
        return tuple(str(Path(save_directory) / name) for name in written)

    def _save_pretrained(
        self,
        save_directory: str | PathLike[Any],
        file_names: tuple[str, ...],
        legacy_format: bool | None = None,
        filename_prefix: str | None = None,
    ) -> tuple[str, ...]:
        # Checked on transformers 5.23.0: the settings come first, and nothing is sent to the Hub before this returns.
        settings, *others = map(Path, file_names)
        complete_settings(settings, self._own_segmenter, self.added_tokens_decoder, len(self._splitter.vocabulary))
        prefix = f"{filename_prefix}-" if filename_prefix else ""
        written = [settings, *others, *map(Path, self.save_vocabulary(save_directory, filename_prefix))]
        if "auto_map" in read_json(settings):
            written.append(Path(save_directory) / "wobert_tokenizer.py")
            write_text(written[-1], _AUTO_FILE)
        segmenter = self._own_segmenter
        if isinstance(segmenter, JiebaSegmenter | RjiebaSegmenter) and segmenter.user_words:
            written.append(Path(save_directory) / f"{prefix}user_dict.txt")
            write_text(written[-1], segmenter.user_words)
        return tuple(map(str, written))

    def save_vocabulary(self, save_directory: str | PathLike[Any], filename_prefix: str | None = None) -> tuple[str]:
        """Save ``vocab.txt`` alone.

        Args:
            save_directory: folder, made if it does not exist.
            filename_prefix: stands before the file's name, with a hyphen.

        Returns:
            The file written.
        """
        path = Path(save_directory) / (f"{filename_prefix}-vocab.txt" if filename_prefix else "vocab.txt")
        write_vocabulary(self._splitter.vocabulary, path)
        return (str(path),)

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoTokenizer") -> None:
        """Nothing: saving writes what AutoTokenizer needs, and never this module itself."""
