"""A ``tokenizer.json`` as a tokenizer of transformers that keeps all settings of the one it was cut from."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import TemplateError
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from nlpkit.vocabulary_pruning.tokenizers.tokenizer_file import token_names

#: Settings that hold the old vocabulary, that only the old class reads, or that would have the post-processor made
#: anew, which ``tokenizer.json`` holds.
_LEFT_OUT = frozenset(
    """vocab merges vocab_file merges_file tokenizer_file tokenizer_object added_tokens_decoder tokenizer_class backend
    name_or_path special_tokens_map_file add_bos_token add_eos_token auto_map is_local local_files_only files_loaded
    extra_ids unk_id post_processor legacy from_slow""".split()
)


def tokenizer_like(tokenizer: Any, content: Mapping[str, Any]) -> PreTrainedTokenizerFast:
    """A tokenizer of transformers with another ``tokenizer.json``.

    Its class is ``TokenizersBackend``, which reads the file as it is; most classes of transformers would build what
    they know from the vocabulary, and ``T5Tokenizer`` would leave out the bytes.

    Args:
        tokenizer: whose settings are taken: special tokens, chat template, length, sides.
        content: of the new ``tokenizer.json``.

    Raises:
        ValueError: the ids of the new tokenizer would not be those of ``content``, since the old one left ids out.
    """
    given = tokenizer.init_kwargs.items()
    settings = {name: copy.deepcopy(value) for name, value in given if name not in _LEFT_OUT}
    settings |= {name: str(token) for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
    settings |= {
        "tokenizer_object": Tokenizer.from_str(json.dumps(content)),
        "model_input_names": list(tokenizer.model_input_names),
        "model_max_length": tokenizer.model_max_length,
        "padding_side": tokenizer.padding_side,
        "truncation_side": tokenizer.truncation_side,
        "clean_up_tokenization_spaces": tokenizer.clean_up_tokenization_spaces,
        "extra_special_tokens": list(map(str, tokenizer.extra_special_tokens)),
    }
    if tokenizer.chat_template is not None:
        settings["chat_template"] = tokenizer.chat_template
    made = PreTrainedTokenizerFast(**settings)
    expected = {name: number for number, name in token_names(content).items()}
    if made.get_vocab() != expected:
        odd = sorted(set(made.get_vocab().items()) ^ set(expected.items()))[:4]
        raise ValueError(
            f"the tokenizer leaves ids out, so that added tokens would get others ({odd}); save it, load it again, "
            "and give ids to its added tokens without gaps"
        )
    return made


def chat_tokens(tokenizer: Any) -> set[int]:
    """Ids that chats are written with: those of the template's own text, and of a short conversation."""
    template = tokenizer.chat_template
    if template is None:
        return set()
    templates: Sequence[str] = list(template.values()) if isinstance(template, dict) else [template]
    user, system = {"role": "user", "content": "1"}, {"role": "system", "content": "1"}
    answer = {"role": "assistant", "content": "1"}
    texts = list(templates)
    for chat in ([user], [system, user], [user, answer, user]):
        for one in templates:
            try:
                texts.append(
                    tokenizer.apply_chat_template(chat, chat_template=one, tokenize=False, add_generation_prompt=True)
                )
            except TemplateError:  # as by templates that take no system message; their own text is read anyway
                continue
    return {number for ids in tokenizer(texts, add_special_tokens=False)["input_ids"] for number in ids}
