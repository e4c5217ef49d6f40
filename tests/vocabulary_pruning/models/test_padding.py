"""Padding whose id moves: what knows the id goes with it, and positions counted from it stay what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from transformers import AutoModel, BertTokenizer, PreTrainedModel

from nlpkit.vocabulary_pruning import complete_tokens, graft_vocabulary, prune_folder, prune_vocabulary

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [chr(0x4E00 + number) for number in range(60)]
TEXTS = [WORDS[30] + WORDS[31] + WORDS[50] * 4, WORDS[7]]
SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
PARTS = {f"{part}_{name}": 2 for part in ("encoder", "decoder") for name in ("layers", "ffn_dim", "attention_heads")}
#: Whose positions are counted from the id of padding.
FROM_PADDING = ["Roberta", "XLMRoberta", "XLMRobertaXL", "Camembert", "Data2VecText", "Longformer", "Esm", "Luke"]
#: Whose embedding is that of an encoder and a decoder, each a module of its own.
OF_TWO = ["Bart", "MBart", "Pegasus", "Blenderbot", "Marian"]


def words(names: list[str]) -> BertTokenizer:
    return BertTokenizer(vocab={name: number for number, name in enumerate(names)})


FIRST, LAST = words([*SPECIAL, *WORDS]), words([*WORDS, *SPECIAL])


def made(name: str, tokenizer: BertTokenizer, **settings: Any) -> PreTrainedModel:
    cls = getattr(transformers, name)
    ends = {
        role: getattr(tokenizer, f"{one}_token_id") for role, one in (("pad_token_id", "pad"), ("bos_token_id", "cls"))
    }
    ends |= {"eos_token_id": tokenizer.sep_token_id, "mask_token_id": tokenizer.mask_token_id}
    torch.manual_seed(0)
    model: PreTrainedModel = cls(cls.config_class(vocab_size=65, **ends, **settings))
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.3)
    return model.double().eval()


def from_padding(name: str, tokenizer: BertTokenizer) -> PreTrainedModel:
    more: dict[str, Any] = {
        "Longformer": {"attention_window": 4},
        "Luke": {"entity_vocab_size": 9, "entity_emb_size": 16},
    }
    more["Esm"] = {"position_embedding_type": "absolute"}
    return made(f"{name}Model", tokenizer, max_position_embeddings=99, **SMALL, **more.get(name, {}))


def states(model: PreTrainedModel, tokenizer: Any) -> Tensor:
    rows = tokenizer(TEXTS, return_tensors="pt", padding=True)
    with torch.no_grad():
        found = model(input_ids=rows["input_ids"], attention_mask=rows["attention_mask"])[0]
    return torch.cat([found[0], found[1, :3]])  # what is said of padding does not count


@pytest.mark.parametrize("name", FROM_PADDING)
def test_positions_stay_where_padding_was_last_and_comes_forward(name: str, tmp_path: Path) -> None:
    model = from_padding(name, LAST)
    found = prune_vocabulary(model, LAST, corpus=TEXTS, multiple_of=1)
    assert found.model.config.pad_token_id < 10 < LAST.pad_token_id
    assert torch.allclose(states(found.model, found.tokenizer), states(model, LAST), atol=1e-12)
    assert torch.allclose(states(found.expand(model), LAST), states(model, LAST), atol=1e-12)
    found.save(tmp_path / "saved")
    model.save_pretrained(tmp_path / "whole")
    LAST.save_pretrained(tmp_path / "whole")
    prune_folder(tmp_path / "whole", tmp_path / "cut", corpus=TEXTS, multiple_of=1)
    for folder in ("saved", "cut"):
        again = AutoModel.from_pretrained(tmp_path / folder).eval()
        assert torch.allclose(states(again, found.tokenizer), states(model, LAST), atol=1e-12)


@pytest.mark.parametrize("name", FROM_PADDING)
@pytest.mark.parametrize("old", [["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]", *WORDS], [*SPECIAL, *WORDS]])
@pytest.mark.parametrize("new", [["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]", *WORDS], [*SPECIAL, *WORDS]])
def test_positions_stay_with_another_tokenizer(name: str, old: list[str], new: list[str], tmp_path: Path) -> None:
    model = from_padding(name, words(old))
    grafted = graft_vocabulary(model, words(old), words(new))
    assert torch.allclose(states(grafted.model, words(new)), states(model, words(old)), atol=1e-12)
    grafted.save(tmp_path)
    again = AutoModel.from_pretrained(tmp_path).eval()
    assert torch.allclose(states(again, words(new)), states(model, words(old)), atol=1e-12)


@pytest.mark.parametrize("name", OF_TWO)
def test_all_embeddings_of_a_model_know_it(name: str) -> None:
    cls = {"Marian": "MarianMTModel"}.get(name, f"{name}ForConditionalGeneration")
    start = LAST.sep_token_id
    model = made(cls, LAST, d_model=16, decoder_start_token_id=start, forced_eos_token_id=start, **PARTS)
    kept = complete_tokens(model, LAST, range(3, 65))
    pruned = prune_vocabulary(model, LAST, keep=kept).model
    grafted = graft_vocabulary(model, LAST, FIRST).model
    shortest = prune_vocabulary(model, LAST, corpus=TEXTS, multiple_of=1).model  # the old id is no row any more
    for other in (pruned, grafted, shortest):
        padding = other.config.pad_token_id
        tables = [module for module in other.modules() if isinstance(module, nn.Embedding) and module.padding_idx]
        assert {module.padding_idx for module in tables} <= {padding}
        assert {module.padding_idx for module in other.modules() if hasattr(module, "padding_idx")} <= {padding, None}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("M2M100Model", {"d_model": 16, "decoder_start_token_id": 62, **PARTS}),
        ("FSMTModel", {"d_model": 16, "langs": ["a", "b"], "src_vocab_size": 65, "tgt_vocab_size": 65, **PARTS}),
        ("MPNetModel", SMALL),
    ],
)
def test_padding_that_cannot_move_is_refused(name: str, settings: dict[str, Any], tmp_path: Path) -> None:
    """Positions that are computed from it, and an id that is built in."""
    old = [*WORDS[:1], "[PAD]", *SPECIAL[1:], *WORDS[1:]]
    model = made(name, words(old), **settings)
    with pytest.raises(
        ValueError, match=f"of {name} counts from 1, the id of padding, and cannot count from 0: leave"
    ):
        graft_vocabulary(model, words(old), FIRST)
    model.save_pretrained(tmp_path / "whole")
    words(old).save_pretrained(tmp_path / "whole")
    with pytest.raises(ValueError, match="the id of padding, and cannot count from"):
        prune_folder(tmp_path / "whole", tmp_path / "cut", corpus=TEXTS, multiple_of=1)
    assert not (tmp_path / "cut").exists()


class Numbering(transformers.BertModel):
    """With a weight whose size is that of an id."""

    def __init__(self, config: transformers.BertConfig) -> None:
        super().__init__(config)
        self.numbers = nn.Linear(config.hidden_size, config.pad_token_id + 1)


def test_what_its_class_would_not_load_is_refused() -> None:
    ids = {"pad_token_id": LAST.pad_token_id, "bos_token_id": LAST.cls_token_id, "eos_token_id": LAST.sep_token_id}
    model = Numbering(transformers.BertConfig(vocab_size=65, **ids, **SMALL))
    with pytest.raises(ValueError, match=r"numbers\.weight of Numbering would have the shape \(61, 16\), and by its"):
        prune_vocabulary(model, LAST, corpus=TEXTS, multiple_of=1)
