"""What to do where a part of nlpkit that is installed on request is missing."""

from __future__ import annotations

#: Top-level modules of the optional requirements in ``pyproject.toml``, and the extra that brings each.
_EXTRAS = {
    "ahocorasick_rs": "linking",
    "bitsandbytes": "quantise",
    "faiss": "faiss",
    "gradio": "demo",
    "matplotlib": "viz",
    "peft": "peft",
    "ray": "scale",
    "rouge_score": "eval",
    "sacrebleu": "eval",
    "scipy": "eval",
    "sentence_transformers": "similarity",
    "sklearn": "eval",
    "tensorflow": "convert",
}


def install_hint(extra: str) -> str:
    """How to install an extra, as the end of an error message.

    Args:
        extra: a name under ``[project.optional-dependencies]``.

    Example:
        >>> install_hint("viz")
        "install the extra 'viz': pip install '.[viz]' in a clone of nlpkit, or 'nlpkit_zh-….whl[viz]'"
    """
    return f"install the extra {extra!r}: pip install '.[{extra}]' in a clone of nlpkit, or 'nlpkit_zh-….whl[{extra}]'"


def hint_for_module(module: str | None) -> str | None:
    """How to install the extra that a missing module belongs to; ``None`` where it belongs to none.

    Args:
        module: the name of an ``ImportError``.

    Example:
        >>> "'.[viz]'" in hint_for_module("matplotlib.pyplot"), hint_for_module("left_pad"), hint_for_module(None)
        (True, None, None)
    """
    extra = _EXTRAS.get((module or "").partition(".")[0])
    return None if extra is None else install_hint(extra)
