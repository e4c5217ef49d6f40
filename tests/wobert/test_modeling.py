"""WoBERT's models are BERT's, except for the loss and the sparse head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForMultipleChoice,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
)

from nlpkit.wobert import (
    WoBertConfig,
    WoBertForCharacterClassification,
    WoBertForMaskedLM,
    WoBertForMultipleChoice,
    WoBertForPreTraining,
    WoBertForQuestionAnswering,
    WoBertForSequenceClassification,
    WoBertModel,
)
from tests.contract.cases import answered_rows, masked_rows, pad_tokens, pair_rows, small_config


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    return pad_tokens(masked_rows(), None)


def test_logits_and_loss_equal_those_of_bert(batch: dict[str, torch.Tensor]) -> None:
    ours = WoBertForMaskedLM(WoBertConfig(**small_config())).double().eval()
    theirs = BertForMaskedLM(BertConfig(**small_config())).double().eval()
    theirs.load_state_dict(ours.state_dict())
    found, expected = ours(**batch), theirs(**batch)
    assert torch.equal(found.logits, expected.logits)
    torch.testing.assert_close(found.loss, expected.loss)


def test_the_sparse_head_gives_the_same_loss_and_gradients(batch: dict[str, torch.Tensor]) -> None:
    torch.manual_seed(0)
    dense = WoBertForMaskedLM(WoBertConfig(**small_config())).double()
    sparse = WoBertForMaskedLM(WoBertConfig(**small_config(sparse_prediction=True))).double()
    sparse.load_state_dict(dense.state_dict())
    full, few = dense(**batch), sparse(**batch)
    labelled = batch["labels"] != -100
    torch.testing.assert_close(few.logits, full.logits[labelled], rtol=0, atol=1e-12)
    torch.testing.assert_close(few.loss, full.loss, rtol=0, atol=1e-12)
    full.loss.backward()
    few.loss.backward()
    for (name, one), other in zip(dense.named_parameters(), sparse.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, rtol=0, atol=1e-12, msg=name)


def test_without_labels_the_sparse_head_scores_every_position(batch: dict[str, torch.Tensor]) -> None:
    model = WoBertForMaskedLM(WoBertConfig(**small_config(sparse_prediction=True)))
    assert model(input_ids=batch["input_ids"]).logits.shape == (*batch["input_ids"].shape, 40)


def test_a_tuple_is_returned_on_request(batch: dict[str, torch.Tensor]) -> None:
    model = WoBertForMaskedLM(WoBertConfig(**small_config())).eval()
    loss, logits = model(**batch, return_dict=False)[:2]
    assert torch.equal(loss, model(**batch).loss)
    assert torch.equal(logits, model(**batch).logits)


@pytest.mark.parametrize(
    ("num_labels", "labels"),
    [
        (3, torch.tensor([0, 2])),
        (3, torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]], dtype=torch.float64)),
        (1, torch.tensor([0.5, -1.0], dtype=torch.float64)),
    ],
    ids=["one class", "several classes", "regression"],
)
def test_every_kind_of_label_gives_berts_loss(num_labels: int, labels: torch.Tensor) -> None:
    settings: dict[str, Any] = small_config(num_labels=num_labels)
    ours = WoBertForSequenceClassification(WoBertConfig(**settings)).double().eval()
    theirs = BertForSequenceClassification(BertConfig(**settings)).double().eval()
    theirs.load_state_dict(ours.state_dict())
    ids = torch.tensor([[2, 5, 6, 3], [2, 7, 8, 3]])
    torch.testing.assert_close(ours(ids, labels=labels).loss, theirs(ids, labels=labels).loss)


def test_hidden_states_and_attentions_come_on_request(batch: dict[str, torch.Tensor]) -> None:
    model = WoBertForMaskedLM(WoBertConfig(**small_config(), attn_implementation="eager")).eval()
    output = model(**batch, output_hidden_states=True, output_attentions=True)
    assert len(output.hidden_states) == 3
    assert len(output.attentions) == 2


def test_a_save_over_an_older_folder_leaves_none_of_its_weights(tmp_path: Path) -> None:
    model = WoBertForMaskedLM(WoBertConfig(**small_config()))
    model.save_pretrained(tmp_path / "model", max_shard_size="2KB")
    (tmp_path / "model" / "vocab.txt").write_text("[PAD]\n")
    assert (tmp_path / "model" / "model.safetensors.index.json").exists()
    model.save_pretrained(tmp_path / "model")
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert names == {"config.json", "model.safetensors", "vocab.txt"}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("model_class", [WoBertModel, WoBertForMaskedLM, WoBertForCharacterClassification])
def test_fp16_weights_are_loaded_for_training_in_float32(model_class: Any, tmp_path: Path) -> None:
    model = model_class(model_class.config_class(**small_config())).half()
    model.save_pretrained(tmp_path)
    loaded = model_class.from_pretrained(tmp_path)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    assert all(torch.equal(new, old.float()) for new, old in zip(loaded.parameters(), model.parameters(), strict=True))
    assert model.config.dtype in ("float16", torch.float16), "the model at hand stays as it is"
    assert model_class.from_pretrained(tmp_path, dtype="float16").dtype == torch.float16


@pytest.mark.parametrize(
    "model_class", [WoBertModel, WoBertForMaskedLM, WoBertForQuestionAnswering, WoBertForCharacterClassification]
)
def test_a_save_that_fails_leaves_the_older_model(
    model_class: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_class(model_class.config_class(**small_config(num_labels=2))).save_pretrained(tmp_path / "model")
    before = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("transformers.modeling_utils.safe_save_file", full)
    wider = model_class(model_class.config_class(**small_config(num_labels=2, hidden_size=32)))
    with pytest.raises(OSError, match="No space left"):
        wider.save_pretrained(tmp_path / "model")
    assert {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_model_sent_to_the_hub_is_named_after_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: dict[str, set[str]] = {}

    class Hub:  # stands for huggingface.co, which tests do not reach
        def create_repo(self, repo_id: str, **_: Any) -> Any:
            return type("Repository", (), {"repo_id": repo_id})

    def upload(self: Any, folder: str, repo_id: str, *_: Any, **__: Any) -> None:
        sent[repo_id] = {path.name for path in Path(folder).iterdir()}

    monkeypatch.setattr("transformers.modeling_utils.hf_api", Hub)
    monkeypatch.setattr("transformers.utils.hub.PushToHubMixin._upload_modified_files", upload)
    model = WoBertForMaskedLM(WoBertConfig(**small_config()))
    model.save_pretrained(tmp_path / "mine", push_to_hub=True)
    model.save_pretrained(tmp_path / "mine", push_to_hub=True, repo_id="me/other")
    assert sent.keys() == {"mine", "me/other"}
    assert all({"config.json", "model.safetensors"} <= names for names in sent.values())


def test_questions_get_berts_scores_and_without_padding_its_loss() -> None:
    ours = WoBertForQuestionAnswering(WoBertConfig(**small_config(num_labels=2))).double().eval()
    theirs = BertForQuestionAnswering(BertConfig(**small_config(num_labels=2))).double().eval()
    theirs.load_state_dict(ours.state_dict())
    batch = {
        "input_ids": torch.arange(24).view(3, 8),
        "start_positions": torch.tensor([2, 9, 0]),
        "end_positions": torch.tensor([3, 9, 50]),
    }
    found, expected = ours(**batch), theirs(**batch)
    assert torch.equal(found.start_logits, expected.start_logits)
    torch.testing.assert_close(found.loss, expected.loss, rtol=0, atol=1e-12)
    column = {name: value[:, None] for name, value in batch.items() if name != "input_ids"}
    torch.testing.assert_close(ours(batch["input_ids"], **column).loss, found.loss, rtol=0, atol=1e-12)
    mask = torch.ones(3, 8, dtype=torch.long)
    torch.testing.assert_close(ours(**batch, attention_mask=mask).loss, found.loss, rtol=0, atol=1e-12)


def test_answers_counted_over_the_step_give_one_large_batchs_loss() -> None:
    model = WoBertForQuestionAnswering(WoBertConfig(**small_config(num_labels=2))).double().eval()
    rows = [answered_rows()[:3], answered_rows()[3:]]
    whole = model(**pad_tokens([*rows[0], *rows[1]], None)).loss
    parts = [model(**pad_tokens(part, None), num_items_in_batch=torch.tensor(8)).loss for part in rows]
    torch.testing.assert_close(parts[0] + parts[1], whole, rtol=0, atol=1e-12)


def test_choices_and_sentence_pairs_get_berts_loss() -> None:
    torch.manual_seed(0)
    chooser = WoBertForMultipleChoice(WoBertConfig(**small_config())).double().eval()
    stock = BertForMultipleChoice(BertConfig(**small_config())).double().eval()
    stock.load_state_dict(chooser.state_dict())
    batch: dict[str, Any] = {"input_ids": torch.arange(24).view(2, 3, 4), "labels": torch.tensor([2, 0])}
    torch.testing.assert_close(chooser(**batch).loss, stock(**batch).loss, rtol=0, atol=1e-12)
    ours = WoBertForPreTraining(WoBertConfig(**small_config())).double().eval()
    theirs = BertForPreTraining(BertConfig(**small_config())).double().eval()
    theirs.load_state_dict(ours.state_dict())
    batch = pad_tokens(pair_rows(), None)
    torch.testing.assert_close(ours(**batch).loss, theirs(**batch).loss, rtol=0, atol=1e-12)
    tokens = ours(**{name: value for name, value in batch.items() if name != "next_sentence_label"}).loss
    pairs = ours(**{name: value for name, value in batch.items() if name != "labels"}).loss
    torch.testing.assert_close(tokens + pairs, ours(**batch).loss, rtol=0, atol=1e-12)


def test_answers_have_a_start_and_an_end() -> None:
    with pytest.raises(ValueError, match=r"num_labels=3 must be 2: .*; give num_labels=2 to from_pretrained"):
        WoBertForQuestionAnswering(WoBertConfig(num_labels=3))
