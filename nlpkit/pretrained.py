"""Opening configurations, tokenizers and models, with one sentence where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

#: What transformers opens a folder by.
_OF_MODELS = ("config.json", "adapter_config.json")


def open_config(source: str | Path, **hub: Any) -> Any:
    """The configuration of a model.

    Args:
        source: as ``find_model`` gives it.
        **hub: for ``from_pretrained``.

    Raises:
        FileNotFoundError: the folder holds no model.

    Example:
        >>> from nlpkit.sources import find_model
        >>> open_config(find_model("wobert-mini-zh")).model_type
        'wobert'
    """
    from transformers import AutoConfig

    refuse_empty_folder(source, **hub)
    return AutoConfig.from_pretrained(source, **hub)


def refuse_empty_folder(source: str | Path, **hub: Any) -> None:
    """Refuse a folder without a model, of which transformers would say that it lacks a key.

    Args:
        source: as ``find_model`` gives it.
        **hub: for ``from_pretrained``.

    Raises:
        FileNotFoundError: it holds neither a model nor an adapter.
    """
    folder = Path(source)
    files = folder / hub.get("subfolder", "")
    if folder.is_dir() and not any((files / name).is_file() for name in _OF_MODELS):
        raise FileNotFoundError(f"{source} holds no config.json; give the folder of a transformers model")


def open_tokenizer(source: str | Path, **hub: Any) -> Any:
    """The tokenizer beside a model.

    Args:
        source: as ``find_model`` gives it.
        **hub: for ``from_pretrained``.

    Raises:
        FileNotFoundError: there is no model either.
        ValueError: there is none: of a model without its files, ``AutoTokenizer`` makes one that knows no word.

    Example:
        >>> from nlpkit.sources import find_model
        >>> open_tokenizer(find_model("wobert-mini-zh")).tokenize("酒店很好")
        ['酒店', '很', '好']
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **hub)
    except (ImportError, OSError, ValueError) as error:  # which names what would make one of files that are not there
        folder = Path(source)
        if folder.is_dir() and not any(_is_of_tokenizer(file) for file in folder.iterdir()):
            refuse_empty_folder(source, **hub)
            raise _no_tokenizer(source) from error
        raise
    if len(set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens)) < 2:  # sentencepiece's has its "▁"
        raise _no_tokenizer(source)
    return tokenizer


def _is_of_tokenizer(file: Path) -> bool:
    begins = file.name.startswith(("tokenizer", "vocab", "merges"))
    return begins or file.suffix in (".model", ".bpe", ".tiktoken")


def _no_tokenizer(source: str | Path) -> ValueError:
    return ValueError(f"{source} holds no tokenizer; save one there with tokenizer.save_pretrained(folder)")


def open_masked_lm(source: str | Path, **settings: Any) -> Any:
    """What ``AutoModelForMaskedLM`` gives.

    Args:
        source: as ``find_model`` gives it.
        **settings: for ``AutoModelForMaskedLM.from_pretrained``.

    Raises:
        FileNotFoundError: there is no model.
        ValueError: transformers has no masked language model of this kind.
    """
    from transformers import AutoModelForMaskedLM

    of_model = ("dtype", "output_loading_info")
    refuse_other_kinds(source, **{name: value for name, value in settings.items() if name not in of_model})
    return AutoModelForMaskedLM.from_pretrained(source, **settings)


def open_encoder_decoder(source: str | Path, **settings: Any) -> Any:
    """What ``AutoModelForSeq2SeqLM`` gives.

    Args:
        source: as ``find_model`` gives it.
        **settings: for ``AutoModelForSeq2SeqLM.from_pretrained``.

    Raises:
        ValueError: it is no encoder-decoder; the message says what it is.
    """
    from transformers import AutoModelForSeq2SeqLM

    config = open_config(source)
    if not config.is_encoder_decoder:
        raise ValueError(f"{source} holds a {config.model_type}, no encoder-decoder; give a T5, mT5 or BART")
    return AutoModelForSeq2SeqLM.from_pretrained(source, **settings)


def refuse_other_kinds(source: str | Path, **hub: Any) -> None:
    """Refuse a model that is no masked language model, where transformers would list all kinds that there are.

    Args:
        source: as ``find_model`` gives it.
        **hub: for ``from_pretrained``.

    Raises:
        ValueError: it is of another kind; the message says which.
    """
    from transformers import MODEL_FOR_MASKED_LM_MAPPING, AutoConfig

    refuse_empty_folder(source, **hub)
    try:
        config = AutoConfig.from_pretrained(source, **hub)
    except (OSError, ValueError):  # an adapter, or nothing: what loads it says more
        return
    brings_its_code = "AutoModelForMaskedLM" in (getattr(config, "auto_map", None) or {})
    if brings_its_code or type(config) in MODEL_FOR_MASKED_LM_MAPPING:
        return
    (name, *_) = config.architectures or [type(config).__name__]
    raise ValueError(
        f"{source} holds a {name}, which fills no masks; a masked language model is needed, such as BERT or WoBERT"
    )
