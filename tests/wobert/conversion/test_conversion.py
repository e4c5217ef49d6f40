from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModelForMaskedLM,
    AutoTokenizer,
    BertForMaskedLM,
    BertForPreTraining,
    BertModel,
    PreTrainedModel,
    RoFormerForMaskedLM,
    RoFormerModel,
)

from nlpkit.wobert.conversion.conversion import convert_checkpoint
from nlpkit.wobert.conversion.report import ConversionReport
from nlpkit.wobert.modeling import WoBertForMaskedLM, WoBertForSequenceClassification, WoBertModel
from nlpkit.wobert.tokenizing.tokenizer import WoBertTokenizer
from tests.wobert.published_checkpoints import (
    FIXTURES,
    INPUTS,
    VOCABULARY,
    edit_json,
    edit_weights,
    logits,
    needs_tensorflow,
    published,
    refused,
    tiny,
)

LEFT_OUT_OF_BERT = {
    "bert/embeddings/LayerNorm/gamma/adam_m": "training state",
    "bert/embeddings/LayerNorm/gamma/adam_v": "training state",
    "global_step": "training state",
    "bert/pooler/dense/kernel": "pooler, which the converted model does not have",
    "bert/pooler/dense/bias": "pooler, which the converted model does not have",
    "cls/seq_relationship/output_weights": "next-sentence head",
    "cls/seq_relationship/output_bias": "next-sentence head",
}


@pytest.fixture(scope="module", params=["bert", "roformer"])
def released(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ConversionReport, Path]:
    """A checkpoint that TensorFlow wrote, converted."""
    out = tmp_path_factory.mktemp("released") / "out"
    source = FIXTURES / f"tf_{request.param}_tiny" / "bert_model.ckpt"
    return convert_checkpoint(source, out, architecture=request.param), out


@needs_tensorflow
def test_what_tensorflow_wrote_gives_the_logits_that_tensorflow_computed(
    released: tuple[ConversionReport, Path],
) -> None:
    report, out = released
    model, loading = AutoModelForMaskedLM.from_pretrained(out, output_loading_info=True)
    assert not any(loading.values())
    expected = json.loads(Path(report.source).with_name("expected.json").read_text())
    assert all(INPUTS[name].tolist() == expected[name] for name in INPUTS)
    # transformers keeps the sinusoids of rotary positions in float32, hence the wider tolerance.
    tolerance = {"WoBertForMaskedLM": 1e-8, "RoFormerForMaskedLM": 1e-7}[type(model).__name__]
    difference = logits(model.double()) - torch.tensor(expected["logits"], dtype=torch.float64)
    assert difference.abs().max() < tolerance
    assert (report.model, report.source_format, report.dtype) == (type(model).__name__, "tensorflow", "float32")


@needs_tensorflow
def test_the_report_lists_every_tensor_of_source_and_model_once_and_is_saved(
    released: tuple[ConversionReport, Path],
) -> None:
    report, out = released
    expected = json.loads(Path(report.source).with_name("expected.json").read_text())["tensors"]
    model = AutoModelForMaskedLM.from_pretrained(out)
    state = model.state_dict()
    assert sorted(tensor.source for tensor in report.tensors if tensor.source) == sorted(expected)
    assert sorted(tensor.target for tensor in report.tensors if tensor.target) == sorted(state)
    for tensor in report.tensors:
        assert tensor.source is None or list(tensor.source_shape) == expected[tensor.source]["shape"]
        assert tensor.target is None or tensor.target_shape == tuple(state[tensor.target].shape)
    left_out = {tensor.source: tensor.note for tensor in report.tensors if tensor.fate == "left out"}
    assert left_out == ({} if "roformer" in report.source else LEFT_OUT_OF_BERT)
    assert report.notes == ["not used of the source's configuration: directionality, pooler_fc_size"]
    assert json.loads((out / "conversion.json").read_text("utf-8")) == json.loads(json.dumps(report.to_dict()))
    assert report.parameters == model.num_parameters()
    assert "encoder.layer.1.output.dense.weight" in str(report)


@needs_tensorflow
def test_auto_classes_load_what_was_converted(released: tuple[ConversionReport, Path], tmp_path: Path) -> None:
    report, out = released
    tokenizer, model = AutoTokenizer.from_pretrained(out), AutoModelForMaskedLM.from_pretrained(out)
    assert (type(tokenizer), type(model).__name__) == (WoBertTokenizer, report.model)
    # transformers' own RoFormer tokenizer gives characters before, and words after, a second saving.
    tokenizer.save_pretrained(tmp_path / "again")
    model.save_pretrained(tmp_path / "again")
    again = AutoTokenizer.from_pretrained(tmp_path / "again")
    assert again.tokenize("我们今天不错") == tokenizer.tokenize("我们今天不错") == ["我们", "今天", "不错"]
    assert type(again) is WoBertTokenizer


def test_a_bert_folder_becomes_a_wobert_with_equal_logits_and_a_word_tokenizer(bert: Path, out: Path) -> None:
    report = convert_checkpoint(bert, out, fallback="constrained")
    assert torch.equal(logits(WoBertForMaskedLM.from_pretrained(out)), logits(BertForMaskedLM.from_pretrained(bert)))
    tokenizer = WoBertTokenizer.from_pretrained(out)
    assert tokenizer.tokenize("我们今天不错") == ["我们", "今天", "不错"]
    assert (tokenizer.model_max_length, tokenizer.init_kwargs["fallback"]) == (16, "constrained")
    assert json.loads((out / "config.json").read_text())["model_type"] == "wobert"
    assert (report.model, report.source_format) == ("WoBertForMaskedLM", "safetensors")
    assert sorted(path.name for path in out.iterdir()) == [
        "config.json",
        "conversion.json",
        "model.safetensors",
        "tokenizer_config.json",
        "vocab.txt",
    ]


def test_a_roformer_folder_stays_a_roformer_with_equal_logits_and_gets_the_word_tokenizer(
    tmp_path: Path, out: Path
) -> None:
    source = published(tiny(RoFormerForMaskedLM), tmp_path / "roformer")
    report = convert_checkpoint(source, out)
    assert report.model == "RoFormerForMaskedLM"
    assert torch.equal(
        logits(RoFormerForMaskedLM.from_pretrained(out)), logits(RoFormerForMaskedLM.from_pretrained(source))
    )
    assert WoBertTokenizer.from_pretrained(out).tokenize("我们今天不错") == ["我们", "今天", "不错"]


def test_a_bert_without_head_becomes_a_bare_encoder_with_its_pooler(tmp_path: Path, out: Path) -> None:
    source = tiny(BertModel)
    report = convert_checkpoint(published(source, tmp_path / "bert"), out)
    model, loading = WoBertModel.from_pretrained(out, output_loading_info=True)
    assert not any(loading.values())
    with torch.no_grad():
        assert torch.equal(model(**INPUTS).pooler_output, source(**INPUTS).pooler_output)
    assert report.model == "WoBertModel"
    assert "starts with a fresh one" in report.notes[0]
    _, loading = WoBertForMaskedLM.from_pretrained(out, output_loading_info=True)
    assert {name.split(".")[0] for name in loading["missing_keys"]} == {"cls"}


def test_a_bert_without_head_and_pooler_becomes_a_bare_encoder(tmp_path: Path, out: Path) -> None:
    source = BertModel(tiny(BertModel).config, add_pooling_layer=False).eval()
    convert_checkpoint(published(source, tmp_path / "bert"), out)
    model = WoBertModel.from_pretrained(out, add_pooling_layer=False)
    with torch.no_grad():
        assert torch.equal(model(**INPUTS).last_hidden_state, source(**INPUTS).last_hidden_state)


def test_a_roformer_without_head_becomes_a_bare_encoder(tmp_path: Path, out: Path) -> None:
    source = tiny(RoFormerModel)
    report = convert_checkpoint(published(source, tmp_path / "roformer"), out)
    with torch.no_grad():
        converted = RoFormerModel.from_pretrained(out)
        assert torch.equal(converted(**INPUTS).last_hidden_state, source(**INPUTS).last_hidden_state)
    assert report.model == "RoFormerModel"


def test_a_classifier_made_of_a_converted_model_starts_with_its_encoder(bert: Path, out: Path) -> None:
    convert_checkpoint(bert, out)
    classifier, loading = WoBertForSequenceClassification.from_pretrained(out, output_loading_info=True)
    assert {name.split(".")[-3:][0] for name in loading["missing_keys"]} <= {"pooler", "classifier"}
    source = BertForPreTraining.from_pretrained(bert).bert.encoder.state_dict()
    assert all(torch.equal(tensor, source[name]) for name, tensor in classifier.bert.encoder.state_dict().items())


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_keep_their_precision_and_are_loaded_for_training_in_float32(
    bert: Path, out: Path, precision: torch.dtype
) -> None:
    edit_weights(bert, lambda tensors: {name: tensor.to(precision) for name, tensor in tensors.items()})
    edit_json(bert / "config.json", dtype=str(precision).removeprefix("torch."))
    report = convert_checkpoint(bert, out)
    saved, source = load_file(out / "model.safetensors"), load_file(bert / "model.safetensors")
    assert {tensor.dtype for tensor in saved.values()} == {precision}
    assert all(torch.equal(tensor, source[name]) for name, tensor in saved.items())
    assert report.dtype == str(precision).removeprefix("torch.")
    assert json.loads((out / "config.json").read_text())["dtype"] == "float32"
    assert WoBertForMaskedLM.from_pretrained(out).dtype == torch.float32


def test_settings_of_the_source_are_taken_over(bert: Path, out: Path) -> None:
    edit_json(bert / "config.json", hidden_dropout_prob=0.25, hidden_act="relu", layer_norm_eps=1e-7, of_old=1)
    edit_json(
        bert / "config.json", torch_dtype="float32", id2label={"0": "差", "1": "好"}, label2id={"差": 0, "好": 1}
    )
    report = convert_checkpoint(bert, out)
    config = WoBertForMaskedLM.from_pretrained(out).config
    assert (config.hidden_dropout_prob, config.hidden_act, config.layer_norm_eps) == (0.25, "relu", 1e-7)
    assert config.id2label == {0: "差", 1: "好"}
    assert report.notes == ["not used of the source's configuration: of_old"]


def test_padding_is_where_the_vocabulary_has_it(bert: Path, out: Path) -> None:
    (bert / "vocab.txt").write_text("\n".join([*VOCABULARY[1:], "[PAD]"]) + "\n", "utf-8")
    convert_checkpoint(bert, out)
    assert WoBertForMaskedLM.from_pretrained(out).config.pad_token_id == len(VOCABULARY) - 1


def test_the_segmenter_that_is_given_is_saved(bert: Path, out: Path) -> None:
    convert_checkpoint(bert, out, segmenter="jieba")
    assert WoBertTokenizer.from_pretrained(out).segmenter.name == "jieba"


def test_a_folder_that_says_nothing_of_itself_is_a_bert_if_it_has_position_embeddings(
    tmp_path: Path, out: Path
) -> None:
    assert convert_checkpoint(silent(tiny(BertForPreTraining), tmp_path / "bert"), out).model == "WoBertForMaskedLM"


@pytest.mark.parametrize("settings", [{"hidden_size": "8"}, {"num_attention_heads": 3}, {"hidden_act": "gelou"}])
def test_a_configuration_of_which_no_model_can_be_made_is_refused(
    bert: Path, out: Path, settings: dict[str, Any]
) -> None:
    edit_json(bert / "config.json", **settings)
    refused(bert, out, ValueError, "no model can be made of the configuration of .*bert/model.safetensors")


def test_another_kind_of_model_is_refused_by_name(bert: Path, out: Path) -> None:
    edit_json(bert / "config.json", model_type="gpt2")
    refused(bert, out, ValueError, "is a 'gpt2' model; only 'bert' and 'roformer' can be converted")


@pytest.mark.parametrize("settings", [{"position_embedding_type": "relative_key"}, {"use_relative_position": True}])
def test_relative_positions_are_refused(bert: Path, out: Path, settings: dict[str, Any]) -> None:
    edit_json(bert / "config.json", **settings)
    refused(bert, out, ValueError, "has relative positions, as NEZHA has")


def silent(model: PreTrainedModel, folder: Path) -> Path:
    """A folder that does not say what kind of model it holds, as TensorFlow's do not."""
    published(model, folder)
    config = json.loads((folder / "config.json").read_text())
    del config["model_type"]
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_without_position_embeddings_roformer_must_be_asked_for_since_nezha_looks_the_same(
    tmp_path: Path, out: Path
) -> None:
    source = silent(tiny(RoFormerForMaskedLM), tmp_path / "roformer")
    message = r"it is a RoFormer, or else a NEZHA.*pass architecture='roformer'"
    refused(source, out, ValueError, message)
    assert convert_checkpoint(source, out, architecture="roformer").model == "RoFormerForMaskedLM"


def test_an_architecture_that_contradicts_the_source_is_refused(bert: Path, tmp_path: Path, out: Path) -> None:
    refused(bert, out, ValueError, "architecture='roformer' was asked for, but .* a 'bert'", architecture="roformer")
    refused(bert, out, ValueError, "architecture must be 'bert' or 'roformer', not 'gpt'", architecture="gpt")
    message = "'embeddings.position_embeddings.weight' of shape .* has no place in the encoder of a roformer"
    refused(silent(tiny(BertModel), tmp_path / "b"), out, ValueError, message, architecture="roformer")
    message = "has no tensor for 'embeddings.position_embeddings.weight'"
    refused(silent(tiny(RoFormerModel), tmp_path / "r"), out, ValueError, message, architecture="bert")


def test_a_destination_in_use_is_refused_unless_a_conversion_may_be_overwritten(bert: Path, out: Path) -> None:
    convert_checkpoint(bert, out)
    refused(bert, out, FileExistsError, "out is not empty; choose another folder, or pass overwrite=True")
    edit_weights(bert, lambda tensors: {name: tensor * 2 for name, tensor in tensors.items()})
    convert_checkpoint(bert, out, overwrite=True)
    assert torch.equal(logits(WoBertForMaskedLM.from_pretrained(out)), logits(BertForMaskedLM.from_pretrained(bert)))
    assert len(list(out.iterdir())) == 5


def test_what_no_conversion_wrote_is_never_overwritten(bert: Path, out: Path) -> None:
    out.mkdir()
    (out / "thesis.tex").write_text("")
    refused(bert, out, FileExistsError, "holds no conversion.json: .* empty it yourself", overwrite=True)
    refused(bert, bert, FileExistsError, "holds no conversion.json", overwrite=True)


def test_a_destination_that_is_a_file_is_refused(bert: Path, out: Path) -> None:
    out.write_text("")
    refused(bert, out, NotADirectoryError, "out is a file; give a folder")


def test_weights_of_an_earlier_conversion_do_not_stay_beside_new_ones(bert: Path, out: Path) -> None:
    convert_checkpoint(bert, out)
    shutil.copy(out / "model.safetensors", out / "pytorch_model.bin")
    (out / "model.safetensors").rename(out / "model-00001-of-00001.safetensors")
    convert_checkpoint(bert, out, overwrite=True)
    assert [path.name for path in out.iterdir() if path.name.startswith(("model", "pytorch"))] == ["model.safetensors"]


def test_an_earlier_conversion_survives_one_that_fails(bert: Path, out: Path) -> None:
    convert_checkpoint(bert, out)
    before = {path: path.read_bytes() for path in out.iterdir()}
    edit_json(bert / "config.json", num_hidden_layers=3)
    refused(bert, out, ValueError, "too many layers", overwrite=True)
    assert {path: path.read_bytes() for path in out.iterdir()} == before


def test_a_disk_that_fills_up_while_saving_leaves_nothing(
    bert: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(WoBertTokenizer, "save_pretrained", full)
    refused(bert, out, OSError, "No space left on device")
