"""A ladder's folder is opened by transformers' own doors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    RobertaConfig,
    pipeline,
)

from nlpkit import WoBertTokenizer
from nlpkit.ladder_side_tuning import LadderConfig, LadderModel, get_ladder_model, tune_from

ROOT = Path(__file__).resolve().parents[2]
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"酒店很好天气不错的服务"]
SIZES = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24}
IDS = torch.tensor([[2, 5, 6, 7, 3]])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("opening") / "base"
    WoBertTokenizer(vocab={token: number for number, token in enumerate(TOKENS)}).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(TOKENS), num_labels=3, id2label={0: "好", 1: "差", 2: "中"}, **SIZES)
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def saved(base: Path, folder: Path, **changes: Any) -> Any:
    ladder = get_ladder_model(BertForSequenceClassification.from_pretrained(base), LadderConfig(reduction=2)).eval()
    with torch.no_grad():
        for parameter in ladder.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    ladder.save_pretrained(folder)
    return ladder


def test_auto_classes_open_a_ladder(base: Path, tmp_path: Path) -> None:
    ladder = saved(base, tmp_path)
    found = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert isinstance(found, LadderModel) and not found.training
    assert torch.equal(found(IDS).logits, ladder(IDS).logits)
    half = AutoModelForSequenceClassification.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert half.dtype == torch.bfloat16
    assert AutoConfig.from_pretrained(tmp_path).id2label == {0: "好", 1: "差", 2: "中"}
    assert AutoTokenizer.from_pretrained(tmp_path).tokenize("酒店很好") == ["酒", "店", "很", "好"]


def test_the_bare_class_opens_the_ladder_below_its_head(base: Path, tmp_path: Path) -> None:
    ladder = saved(base, tmp_path)
    bare = AutoModel.from_pretrained(tmp_path)
    assert isinstance(bare, LadderModel) and type(bare).__name__ == "BertModel"
    assert torch.equal(bare(IDS).last_hidden_state, ladder.bert(IDS).last_hidden_state)


def test_other_heads_and_unknown_options_are_refused(base: Path, tmp_path: Path) -> None:
    saved(base, tmp_path)
    with pytest.raises(
        ValueError,
        match="trained with a BertForSequenceClassification, and AutoModelForMaskedLM gives BertForMaskedLM",
    ):
        AutoModelForMaskedLM.from_pretrained(tmp_path)
    with pytest.raises(TypeError, match=r"opens the ladder in .* and takes no 'colour' with it"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path, colour=5)


@pytest.mark.parametrize(
    "settings",
    [
        {"id2label": {0: "a", 1: "b", 2: "c"}},
        {"label2id": {"a": 0, "b": 1, "c": 2}},
        {"id2label": {0: "a", 1: "b", 2: "c"}, "label2id": {"a": 0, "b": 1, "c": 2}, "num_labels": 3},
    ],
)
def test_labels_may_have_other_names(settings: dict[str, Any], base: Path, tmp_path: Path) -> None:
    ladder = saved(base, tmp_path)
    found = AutoModelForSequenceClassification.from_pretrained(tmp_path, hidden_dropout_prob=0.3, **settings)
    config = AutoConfig.from_pretrained(tmp_path, hidden_dropout_prob=0.3, **settings)
    for one in (found.config, config):
        assert one.id2label == {0: "a", 1: "b", 2: "c"} and one.label2id == {"a": 0, "b": 1, "c": 2}
        assert one.hidden_dropout_prob == 0.3
    assert torch.equal(found(IDS).logits, ladder(IDS).logits)


@pytest.mark.parametrize(
    ("settings", "count"),
    [({"num_labels": 5}, 5), ({"id2label": {0: "a", 1: "b"}}, 2), ({"label2id": {"a": 0}}, 1)],
)
def test_another_number_of_labels_is_refused(settings: dict[str, Any], count: int, base: Path, tmp_path: Path) -> None:
    saved(base, tmp_path)
    for auto_class in (AutoModelForSequenceClassification, AutoConfig):
        with pytest.raises(
            ValueError, match=rf"stands for {count} labels, and the head of the ladder in .* with 3; le"
        ):
            auto_class.from_pretrained(tmp_path, **settings)


def test_settings_that_change_the_backbone_are_refused(base: Path, tmp_path: Path) -> None:
    saved(base, tmp_path)
    config = AutoConfig.from_pretrained(tmp_path, hidden_act="relu")
    for given in ({"hidden_act": "relu"}, {"config": config}):
        with pytest.raises(
            ValueError, match=r"hidden_act='relu' would change the states .* with hidden_act='gelu'; le"
        ):
            AutoModelForSequenceClassification.from_pretrained(tmp_path, **given)


def test_a_configuration_is_read_as_settings_by_name_are(base: Path, tmp_path: Path) -> None:
    ladder = saved(base, tmp_path)
    names = {0: "a", 1: "b", 2: "c"}
    config = AutoConfig.from_pretrained(tmp_path, id2label=names, problem_type="regression")
    unnamed = BertConfig.from_pretrained(base, id2label=None, label2id=None, num_labels=3)
    for given, labels in ((config, names), (unnamed, ladder.config.id2label), (str(tmp_path), ladder.config.id2label)):
        found = AutoModelForSequenceClassification.from_pretrained(tmp_path, config=given)
        assert found.config.id2label == labels
        assert torch.equal(found(IDS).logits, ladder(IDS).logits)
        assert found.config.problem_type == getattr(given, "problem_type", None)


def test_configurations_of_other_heads_and_models_are_refused(base: Path, tmp_path: Path) -> None:
    saved(base, tmp_path)
    with pytest.raises(
        ValueError, match=r"stands for 2 labels, and the head of the ladder in .* with 3; leave it out"
    ):
        AutoModelForSequenceClassification.from_pretrained(
            tmp_path, config=BertConfig.from_pretrained(base, num_labels=2)
        )
    with pytest.raises(
        ValueError, match=r"config is a RobertaConfig, and the ladder in .* with a BertConfig; leave it"
    ):
        AutoModelForSequenceClassification.from_pretrained(tmp_path, config=RobertaConfig())


def test_the_precision_may_be_asked_for_by_its_older_name(base: Path, tmp_path: Path) -> None:
    saved(base, tmp_path)
    found = AutoModelForSequenceClassification.from_pretrained(tmp_path, torch_dtype=torch.float64)
    assert found.dtype == torch.float64


def test_a_backbone_in_fp16_is_known_to_have_been_rounded(base: Path, tmp_path: Path) -> None:
    ladder = saved(base, tmp_path)
    with pytest.raises(
        ValueError, match=r"load it with dtype='float32' or 'bfloat16', and call half\(\) on the ladder"
    ):
        AutoModelForSequenceClassification.from_pretrained(tmp_path, dtype="float16")
    found = AutoModelForSequenceClassification.from_pretrained(tmp_path).half()
    torch.testing.assert_close(found(IDS).logits.float(), ladder(IDS).logits, rtol=0, atol=1e-2)


def test_settings_that_a_configuration_does_not_know_come_back(base: Path, tmp_path: Path) -> None:
    saved(base, tmp_path)
    config, unused = AutoConfig.from_pretrained(
        tmp_path, colour=5, problem_type="regression", return_unused_kwargs=True
    )
    assert config.problem_type == "regression" and unused == {"colour": 5}


def test_the_report_names_what_neither_backbone_nor_ladder_holds(base: Path, tmp_path: Path) -> None:
    bare = AutoModel.from_pretrained(base)
    bare.save_pretrained(tmp_path / "bare")
    for home in (base, tmp_path / "bare"):  # the head is the ladder's
        ladder = saved(home, tmp_path / "ladder")
        for auto_class in (AutoModelForSequenceClassification, AutoModel):
            found, report = auto_class.from_pretrained(tmp_path / "ladder", output_loading_info=True)
            assert not report["missing_keys"] and not report["mismatched_keys"]
            assert isinstance(found, LadderModel)
        alone = AutoModelForSequenceClassification.from_pretrained(tmp_path / "ladder", output_loading_info=False)
        assert torch.equal(alone(IDS).logits, ladder(IDS).logits)


def test_a_masked_lm_with_a_ladder_lacks_nothing(base: Path, tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = AutoModelForMaskedLM.from_pretrained(base)
    model.save_pretrained(tmp_path / "whole")
    model = AutoModelForMaskedLM.from_pretrained(tmp_path / "whole")
    get_ladder_model(model, LadderConfig(reduction=2)).save_pretrained(tmp_path / "ladder")
    _, report = AutoModelForMaskedLM.from_pretrained(tmp_path / "ladder", output_loading_info=True)
    assert not report["missing_keys"]


def test_pipelines_open_a_ladder(base: Path, tmp_path: Path) -> None:
    ladder = saved(base, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(base)
    expected = pipeline("text-classification", model=ladder, tokenizer=tokenizer)(["酒店很好", "天气不错"])
    assert {answer["label"] for answer in expected} <= {"好", "差", "中"}
    assert pipeline("text-classification", model=str(tmp_path))(["酒店很好", "天气不错"]) == expected


@pytest.mark.slow
def test_without_peft_the_same_doors_open(base: Path, tmp_path: Path) -> None:
    ladder = saved(base, tmp_path)
    script = (
        "import sys; sys.modules['peft'] = None; import transformers, nlpkit;"
        "print(transformers.pipeline('text-classification', model=sys.argv[1])('酒店很好')[0]['score'])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    run = [sys.executable, "-c", script, str(tmp_path)]
    found = subprocess.run(run, check=True, env=environment, capture_output=True, text=True).stdout
    classify = pipeline("text-classification", model=ladder, tokenizer=AutoTokenizer.from_pretrained(base))
    assert float(found.split()[-1]) == pytest.approx(classify("酒店很好")[0]["score"], abs=1e-6)


def test_peft_says_what_opens_a_ladder(base: Path, tmp_path: Path) -> None:
    saved(base, tmp_path)
    model = BertForSequenceClassification.from_pretrained(base)
    for load in (
        lambda: PeftModel.from_pretrained(model, str(tmp_path)),
        lambda: BertForSequenceClassification.from_pretrained(tmp_path),
    ):
        with pytest.raises(
            ValueError, match=r"is a ladder of nlpkit and no adapter of PEFT's: open it with nlpkit\.Ladd"
        ):
            load()


def test_plain_folders_open_as_before(base: Path, tmp_path: Path) -> None:
    plain = AutoModelForSequenceClassification.from_pretrained(base)
    assert type(plain) is BertForSequenceClassification
    with pytest.raises((OSError, ValueError), match="config"):
        AutoModel.from_pretrained(tmp_path)


@pytest.mark.parametrize("rows", [len(TOKENS) + 2, len(TOKENS) - 3])
@pytest.mark.parametrize("tuned", [False, True])
def test_embeddings_resized_before_come_back_with_the_ladder(
    rows: int, tuned: bool, base: Path, tmp_path: Path
) -> None:
    model = BertForSequenceClassification.from_pretrained(base)
    model.resize_token_embeddings(rows, mean_resizing=False)
    if rows > len(TOKENS):
        torch.nn.init.normal_(model.bert.embeddings.word_embeddings.weight.data[len(TOKENS) :])
    ladder = tune_from(model, 1) if tuned else get_ladder_model(model, LadderConfig(reduction=2))
    ladder.eval().save_pretrained(tmp_path, whole=False)
    ids = torch.tensor([[2, 5, rows - 1]])
    expected = ladder(ids).logits
    given = BertForSequenceClassification.from_pretrained(base)
    for found in (
        LadderModel.from_pretrained(tmp_path),
        LadderModel.from_pretrained(given, tmp_path),
        AutoModelForSequenceClassification.from_pretrained(tmp_path),
    ):
        assert torch.equal(found(ids).logits, expected)
        assert not found.get_input_embeddings().weight.requires_grad
    assert given.get_input_embeddings().weight.shape[0] == len(TOKENS)  # the given model is as it was


def test_a_backbone_that_was_changed_after_loading_is_named_as_such(base: Path, tmp_path: Path) -> None:
    model = BertForSequenceClassification.from_pretrained(base)
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight[3] += 1
    get_ladder_model(model, LadderConfig(reduction=2)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="either that has changed, or the model had been changed after it was loaded"):
        LadderModel.from_pretrained(tmp_path)


def test_the_card_says_what_it_is_and_stays(base: Path, tmp_path: Path) -> None:
    ladder = saved(base, tmp_path)
    card = (tmp_path / "README.md").read_text("utf-8")
    assert "# BertForSequenceClassification with a ladder" in card and "LadderModel.from_pretrained(" in card
    assert f"{ladder.num_ladder_parameters():,} of " in card
    (tmp_path / "README.md").write_text("my own", "utf-8")
    ladder.save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text("utf-8") == "my own"
    ladder.config.name_or_path = "someone/model"
    ladder.save_pretrained(tmp_path / "hub")
    assert "base_model: someone/model" in (tmp_path / "hub" / "README.md").read_text("utf-8")
