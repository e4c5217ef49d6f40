from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForMaskedLM,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertModel,
    BertTokenizer,
    PreTrainedModel,
    RoFormerConfig,
    RoFormerForMaskedLM,
    RoFormerModel,
)

from nlpkit.wobert.conversion import convert_checkpoint
from nlpkit.wobert.modeling import WoBertForMaskedLM, WoBertForSequenceClassification, WoBertModel
from nlpkit.wobert.tf_checkpoint import read_tf_checkpoint
from nlpkit.wobert.tokenizer import WoBertTokenizer
from tests.reference.tensor_bundle_writer import write_bundle

FIXTURES = Path(__file__).parent / "fixtures"
VOCABULARY = (FIXTURES / "tf_bert_tiny" / "vocab.txt").read_text("utf-8").split()
SIZES = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 16,
    "initializer_range": 0.5,  # so that no two tensors could be exchanged without changing the logits
}
INPUTS = {
    "input_ids": torch.tensor([[2, 16, 17, 4, 19, 3, 9, 12, 22, 3], [2, 20, 4, 22, 3, 0, 0, 0, 0, 0]]),
    "token_type_ids": torch.tensor([[0, 0, 0, 0, 0, 0, 1, 1, 1, 1], [0] * 10]),
    "attention_mask": torch.tensor([[1] * 10, [1] * 5 + [0] * 5]),
}


def tiny(model_class: type[PreTrainedModel], **settings: Any) -> PreTrainedModel:
    """A random model whose every tensor, norms and biases too, differs from every other."""
    torch.manual_seed(0)
    config_class = RoFormerConfig if "RoFormer" in model_class.__name__ else BertConfig
    model = model_class(config_class(**{**SIZES, **settings}))
    for name, parameter in model.named_parameters():
        if "embed_positions" not in name:
            parameter.data += 0.3 * torch.randn_like(parameter)
    return model.eval()


def published(model: PreTrainedModel, folder: Path) -> Path:
    """A folder as people publish them: configuration, safetensors, vocabulary."""
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", "utf-8")
    return folder


def edit_json(path: Path, **settings: Any) -> None:
    content = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(content | settings), "utf-8")


def edit_weights(folder: Path, edit: Any) -> None:
    file = folder / "model.safetensors"
    save_file(edit(load_file(file)), file, metadata={"format": "pt"})


def tensorflow_copy(folder: Path, dropped: tuple[str, ...] = (), **replaced: np.ndarray) -> Path:
    """The BERT that TensorFlow wrote, written anew without the tensors so named, or with others in their place."""
    shutil.copytree(FIXTURES / "tf_bert_tiny", folder)
    arrays = {name: array for name, array in read_tf_checkpoint(folder).items() if not name.startswith(dropped)}
    write_bundle(folder / "bert_model.ckpt", arrays | replaced)
    return folder


@torch.no_grad()
def logits(model: PreTrainedModel) -> torch.Tensor:
    return model.eval()(**INPUTS).logits  # (batch, length, vocabulary)


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    return published(tiny(BertForPreTraining), tmp_path / "bert")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.mark.parametrize(("architecture", "tolerance"), [("bert", 1e-8), ("roformer", 1e-7)])
def test_what_tensorflow_wrote_gives_the_logits_that_tensorflow_computed(
    out: Path, architecture: Any, tolerance: float
) -> None:
    source = FIXTURES / f"tf_{architecture}_tiny"
    report = convert_checkpoint(source, out, architecture=architecture)
    model_class = {"bert": WoBertForMaskedLM, "roformer": RoFormerForMaskedLM}[architecture]
    model, loading = model_class.from_pretrained(out, output_loading_info=True)
    assert not any(loading.values())
    expected = json.loads((source / "expected.json").read_text())
    assert all(INPUTS[name].tolist() == expected[name] for name in INPUTS)
    # transformers keeps the sinusoids of rotary positions in float32, hence the wider tolerance.
    difference = logits(model.double()) - torch.tensor(expected["logits"], dtype=torch.float64)
    assert difference.abs().max() < tolerance
    assert (report.model, report.source_format, report.dtype) == (model_class.__name__, "tensorflow", "float32")


def test_optimizer_pooler_and_next_sentence_head_of_a_tensorflow_bert_are_left_out(out: Path) -> None:
    report = convert_checkpoint(FIXTURES / "tf_bert_tiny" / "bert_model.ckpt", out)
    assert {tensor.source: tensor.note for tensor in report.tensors if tensor.fate == "left out"} == {
        "bert/embeddings/LayerNorm/gamma/adam_m": "training state",
        "bert/embeddings/LayerNorm/gamma/adam_v": "training state",
        "global_step": "training state",
        "bert/pooler/dense/kernel": "pooler, which the converted model does not have",
        "bert/pooler/dense/bias": "pooler, which the converted model does not have",
        "cls/seq_relationship/output_weights": "next-sentence head",
        "cls/seq_relationship/output_bias": "next-sentence head",
    }
    assert report.notes == ["not used of the source's configuration: directionality, pooler_fc_size"]


def test_the_report_lists_every_tensor_of_source_and_model_once_and_is_saved(out: Path) -> None:
    source = read_tf_checkpoint(FIXTURES / "tf_bert_tiny")
    report = convert_checkpoint(FIXTURES / "tf_bert_tiny", out)
    state = WoBertForMaskedLM.from_pretrained(out).state_dict()
    assert sorted(tensor.source for tensor in report.tensors if tensor.source) == sorted(source)
    assert sorted(tensor.target for tensor in report.tensors if tensor.target) == sorted(state)
    for tensor in report.tensors:
        assert tensor.source is None or tensor.source_shape == source.shape(tensor.source)
        assert tensor.target is None or tensor.target_shape == tuple(state[tensor.target].shape)
    assert json.loads((out / "conversion.json").read_text("utf-8")) == json.loads(json.dumps(report.to_dict()))
    assert report.parameters == sum(
        parameter.numel() for parameter in WoBertForMaskedLM.from_pretrained(out).parameters()
    )
    assert "bert.encoder.layer.1.output.dense.weight" in str(report)


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


@pytest.mark.parametrize("architecture", ["bert", "roformer"])
def test_auto_classes_load_what_was_converted(out: Path, tmp_path: Path, architecture: Any) -> None:
    report = convert_checkpoint(FIXTURES / f"tf_{architecture}_tiny", out, architecture=architecture)
    tokenizer, model = AutoTokenizer.from_pretrained(out), AutoModelForMaskedLM.from_pretrained(out)
    assert (type(tokenizer), type(model).__name__) == (WoBertTokenizer, report.model)
    # transformers' own RoFormer tokenizer gives characters before, and words after, a second saving.
    tokenizer.save_pretrained(tmp_path / "again")
    model.save_pretrained(tmp_path / "again")
    again = AutoTokenizer.from_pretrained(tmp_path / "again")
    assert again.tokenize("我们今天不错") == tokenizer.tokenize("我们今天不错") == ["我们", "今天", "不错"]
    assert type(again) is WoBertTokenizer


def as_pytorch_file(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def as_shards(folder: Path) -> None:
    model = BertForPreTraining.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="2KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 2


def with_old_names(folder: Path) -> None:
    edit_weights(
        folder,
        lambda tensors: (
            {
                name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
                for name, tensor in tensors.items()
            }
            | {"bert.embeddings.position_ids": torch.arange(16)[None]}
        ),
    )
    as_pytorch_file(folder)


def with_stored_ties(folder: Path) -> None:
    edit_weights(
        folder,
        lambda tensors: (
            tensors
            | {
                "cls.predictions.decoder.weight": tensors["bert.embeddings.word_embeddings.weight"].clone(),
                "cls.predictions.decoder.bias": tensors["cls.predictions.bias"].clone(),
            }
        ),
    )


@pytest.mark.parametrize("store", [as_pytorch_file, as_shards, with_old_names, with_stored_ties])
def test_however_a_bert_is_stored_its_logits_stay(bert: Path, out: Path, store: Any) -> None:
    before = logits(BertForMaskedLM.from_pretrained(bert))
    store(bert)
    convert_checkpoint(bert, out)
    assert torch.equal(logits(WoBertForMaskedLM.from_pretrained(out)), before)


def test_an_untied_decoder_is_kept_when_the_configuration_says_so(bert: Path, out: Path) -> None:
    with_stored_ties(bert)
    edit_weights(bert, lambda tensors: tensors | {"cls.predictions.decoder.weight": torch.ones(len(VOCABULARY), 8)})
    edit_json(bert / "config.json", tie_word_embeddings=False)
    convert_checkpoint(bert, out)
    converted, source = WoBertForMaskedLM.from_pretrained(out), BertForMaskedLM.from_pretrained(bert)
    assert torch.equal(converted.cls.predictions.decoder.weight, torch.ones(len(VOCABULARY), 8))
    assert torch.equal(logits(converted), logits(source))


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


def test_a_tensorflow_bert_without_head_and_pooler_becomes_a_bare_encoder(tmp_path: Path, out: Path) -> None:
    convert_checkpoint(tensorflow_copy(tmp_path / "bert", dropped=("cls/", "bert/pooler")), out)
    convert_checkpoint(FIXTURES / "tf_bert_tiny", tmp_path / "with_head")
    model = WoBertModel.from_pretrained(out, add_pooling_layer=False)
    with_head = WoBertForMaskedLM.from_pretrained(tmp_path / "with_head")
    with torch.no_grad():
        assert torch.equal(model(**INPUTS).last_hidden_state, with_head.bert(**INPUTS).last_hidden_state)


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
def test_weights_keep_their_precision(bert: Path, out: Path, precision: torch.dtype) -> None:
    edit_weights(bert, lambda tensors: {name: tensor.to(precision) for name, tensor in tensors.items()})
    report = convert_checkpoint(bert, out)
    saved, source = load_file(out / "model.safetensors"), load_file(bert / "model.safetensors")
    assert {tensor.dtype for tensor in saved.values()} == {precision}
    assert all(torch.equal(tensor, source[name]) for name, tensor in saved.items())
    assert report.dtype == str(precision).removeprefix("torch.")


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


def test_a_cased_source_stays_cased_and_its_special_tokens_keep_their_names(bert: Path, out: Path) -> None:
    vocabulary = [{"[UNK]": "<unk>", "的": "Hi"}.get(token, token) for token in VOCABULARY]
    (bert / "vocab.txt").write_text("\n".join(vocabulary) + "\n", "utf-8")
    unknown = {"content": "<unk>", "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    (bert / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False, "unk_token": unknown}))
    convert_checkpoint(bert, out)
    assert WoBertTokenizer.from_pretrained(out).tokenize("Hi 人") == ["Hi", "<unk>"]


def test_padding_is_where_the_vocabulary_has_it(bert: Path, out: Path) -> None:
    (bert / "vocab.txt").write_text("\n".join([*VOCABULARY[1:], "[PAD]"]) + "\n", "utf-8")
    convert_checkpoint(bert, out)
    assert WoBertForMaskedLM.from_pretrained(out).config.pad_token_id == len(VOCABULARY) - 1


def test_the_vocabulary_is_found_in_tokenizer_json_with_the_tokens_added_to_it(bert: Path, out: Path) -> None:
    (bert / "vocab.txt").unlink()
    tokenizer = BertTokenizer(vocab={token: number for number, token in enumerate(VOCABULARY[:-1])})
    tokenizer.add_tokens([VOCABULARY[-1]])
    tokenizer.save_pretrained(bert)
    assert not (bert / "vocab.txt").exists()
    convert_checkpoint(bert, out)
    assert WoBertTokenizer.from_pretrained(out).get_vocab() == tokenizer.get_vocab()


@pytest.mark.parametrize("kind", [str, Path, dict])
def test_a_vocabulary_that_is_given_goes_before_the_sources_own(bert: Path, out: Path, kind: type) -> None:
    (bert / "vocab.txt").write_text("broken\n\n")
    given = bert.parent / "other.txt"
    given.write_text("\n".join([*VOCABULARY[:-1], "词"]) + "\n", "utf-8")
    vocab = {t: n for n, t in enumerate([*VOCABULARY[:-1], "词"])} if kind is dict else kind(given)
    convert_checkpoint(bert, out, vocab=vocab)
    assert WoBertTokenizer.from_pretrained(out).convert_tokens_to_ids("词") == len(VOCABULARY) - 1


def test_the_segmenter_that_is_given_is_saved(bert: Path, out: Path) -> None:
    convert_checkpoint(bert, out, segmenter="jieba")
    assert WoBertTokenizer.from_pretrained(out).segmenter.name == "jieba"


def test_a_folder_that_says_nothing_of_itself_is_a_bert_if_it_has_position_embeddings(bert: Path, out: Path) -> None:
    config = json.loads((bert / "config.json").read_text())
    del config["model_type"]
    (bert / "config.json").write_text(json.dumps(config))
    assert convert_checkpoint(bert, out).model == "WoBertForMaskedLM"


def test_safetensors_are_taken_before_pytorchs_and_tensorflows_weights(bert: Path, out: Path) -> None:
    (bert / "pytorch_model.bin").write_bytes(b"not read")
    shutil.copy(FIXTURES / "tf_bert_tiny" / "bert_model.ckpt.index", bert)
    assert convert_checkpoint(bert, out).source == str(bert / "model.safetensors")


# Bad input: one clear error each, and nothing written.


def refused(source: Path, out: Path, error: type[Exception], message: str, **options: Any) -> None:
    before = sorted(out.parent.rglob("*"))
    with pytest.raises(error, match=message):
        convert_checkpoint(source, out, **options)
    assert sorted(out.parent.rglob("*")) == before


def test_a_source_that_is_not_there_is_refused(tmp_path: Path, out: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(
        tmp_path / "empty", out, FileNotFoundError, r"empty holds no weights: no model\.safetensors, pytorch_model"
    )
    refused(tmp_path / "model.ckpt", out, FileNotFoundError, r"there is no model\.ckpt\.index in")
    refused(
        Path("someone/wobert-base"), out, FileNotFoundError, "someone/wobert-base does not exist; give a local fol"
    )


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("bert_config.json", "holds no bert_config.json; put"),
        ("vocab.txt", "holds no vocab.txt; give"),
        ("bert_model.ckpt.data-00000-of-00001", "missing; put all 1 data files beside the index"),
    ],
)
def test_a_tensorflow_checkpoint_that_lacks_a_file_is_refused(
    tmp_path: Path, out: Path, file: str, message: str
) -> None:
    source = tensorflow_copy(tmp_path / "bert")
    (source / file).unlink()
    refused(source, out, FileNotFoundError, message)


def test_a_folder_without_configuration_is_refused(bert: Path, out: Path) -> None:
    (bert / "config.json").unlink()
    refused(bert, out, FileNotFoundError, "holds model.safetensors but no config.json")


@pytest.mark.parametrize(
    ("content", "message"), [("{", "is not JSON"), ("[]", "must hold a JSON object, and holds a list")]
)
def test_a_configuration_that_is_no_json_object_is_refused(bert: Path, out: Path, content: str, message: str) -> None:
    (bert / "config.json").write_text(content)
    refused(bert, out, ValueError, f"config.json {message}")


def test_a_tensorflow_configuration_without_what_no_shape_tells_is_refused(tmp_path: Path, out: Path) -> None:
    source = tensorflow_copy(tmp_path / "bert")
    (source / "bert_config.json").write_text(json.dumps({"num_hidden_layers": 2, "hidden_size": 8}))
    refused(source, out, ValueError, "bert_config.json lacks num_attention_heads, hidden_act;")


def test_another_kind_of_model_is_refused_by_name(bert: Path, out: Path) -> None:
    edit_json(bert / "config.json", model_type="gpt2")
    refused(bert, out, ValueError, "is a 'gpt2' model; only 'bert' and 'roformer' can be converted")


@pytest.mark.parametrize("settings", [{"position_embedding_type": "relative_key"}, {"use_relative_position": True}])
def test_relative_positions_are_refused(bert: Path, out: Path, settings: dict[str, Any]) -> None:
    edit_json(bert / "config.json", **settings)
    refused(bert, out, ValueError, "has relative positions, as NEZHA has")


def test_without_position_embeddings_roformer_must_be_asked_for_since_nezha_looks_the_same(out: Path) -> None:
    with pytest.raises(ValueError, match=r"it is a RoFormer, or else a NEZHA.*pass architecture='roformer'"):
        convert_checkpoint(FIXTURES / "tf_roformer_tiny", out)


def test_an_architecture_that_contradicts_the_source_is_refused(bert: Path, out: Path) -> None:
    refused(bert, out, ValueError, "architecture='roformer' was asked for, but .* a 'bert'", architecture="roformer")
    refused(bert, out, ValueError, "architecture must be 'bert' or 'roformer', not 'gpt'", architecture="gpt")
    message = "'bert/embeddings/position_embeddings' of shape .* has no place in the encoder of a roformer"
    refused(FIXTURES / "tf_bert_tiny", out, ValueError, message, architecture="roformer")
    message = "has no tensor for 'bert.embeddings.position_embeddings.weight'"
    refused(FIXTURES / "tf_roformer_tiny", out, ValueError, message, architecture="bert")


def test_a_source_with_names_of_its_own_is_refused(tmp_path: Path, out: Path) -> None:
    source = tensorflow_copy(tmp_path / "bert", dropped=("bert/embeddings/word",))
    refused(source, out, ValueError, "has no word embeddings under any name of BERT's")


@pytest.mark.parametrize(
    ("dropped", "target"),
    [
        ("bert/encoder/layer_1/output/dense/bias", "bert.encoder.layer.1.output.dense.bias"),
        ("cls/predictions/output_bias", "cls.predictions.bias"),
    ],
)
def test_a_missing_tensor_is_named(tmp_path: Path, out: Path, dropped: str, target: str) -> None:
    source = tensorflow_copy(tmp_path / "bert", dropped=(dropped,))
    refused(source, out, ValueError, f"has no tensor for '{target}' of shape")


def test_a_tensor_of_the_wrong_shape_is_named_with_its_target(tmp_path: Path, out: Path) -> None:
    name = "bert/encoder/layer_0/intermediate/dense/kernel"
    source = tensorflow_copy(tmp_path / "bert", **{name: np.zeros((12, 8), np.float32)})
    target = "bert.encoder.layer.0.intermediate.dense.weight"
    message = rf"'{name}' of shape \(12, 8\), transposed, does not fit '{target}' of shape \(12, 8\)"
    refused(source, out, ValueError, message)


def test_a_configuration_of_other_sizes_is_refused(bert: Path, out: Path) -> None:
    edit_json(bert / "config.json", max_position_embeddings=20)
    message = r"'bert.embeddings.position_embeddings.weight' of shape \(16, 8\) does not fit .* of shape \(20, 8\)"
    refused(bert, out, ValueError, message)


def test_a_configuration_of_too_few_or_too_many_layers_is_refused(bert: Path, out: Path) -> None:
    edit_json(bert / "config.json", num_hidden_layers=1)
    refused(
        bert, out, ValueError, r"'bert.encoder.layer.1.*' of shape .* has no place in the encoder .* too few layers"
    )
    edit_json(bert / "config.json", num_hidden_layers=3)
    refused(
        bert, out, ValueError, r"has no tensor for 'bert.encoder.layer.2.* or its configuration has too many layers"
    )


def test_a_vocabulary_of_another_size_is_refused(bert: Path, out: Path) -> None:
    (bert / "vocab.txt").write_text("\n".join(VOCABULARY[:-1]) + "\n", "utf-8")
    message = "the vocabulary has 22 tokens, but 'bert.embeddings.word_embeddings.weight' has 23 rows; give"
    refused(bert, out, ValueError, message)


def test_a_tokenizer_that_is_no_wordpiece_is_refused(bert: Path, out: Path) -> None:
    (bert / "vocab.txt").unlink()
    (bert / "tokenizer.json").write_text(json.dumps({"model": {"type": "Unigram"}, "added_tokens": []}))
    refused(bert, out, ValueError, "is a Unigram tokenizer, and a word tokenizer needs a WordPiece vocabulary")


def test_a_tensor_that_is_there_under_two_names_is_refused(bert: Path, out: Path) -> None:
    edit_weights(bert, lambda tensors: tensors | {"bert.embeddings.LayerNorm.gamma": torch.ones(8)})
    message = "holds 'bert.embeddings.LayerNorm.weight' twice, as 'bert.embeddings.LayerNorm.(gamma|weight)' and as"
    refused(bert, out, ValueError, message)


def test_quantised_weights_are_refused(bert: Path, out: Path) -> None:
    name = "bert.encoder.layer.0.output.dense.weight"
    edit_weights(bert, lambda tensors: tensors | {name: torch.zeros(8, 12, dtype=torch.int8)})
    refused(bert, out, ValueError, f"'{name}' is torch.int8; quantised weights cannot be converted")


@pytest.mark.parametrize("name", ["cls.predictions.decoder.weight", "cls.predictions.decoder.bias"])
def test_a_tied_tensor_with_numbers_of_its_own_is_refused(bert: Path, out: Path, name: str) -> None:
    with_stored_ties(bert)
    edit_weights(bert, lambda tensors: tensors | {name: tensors[name] + 1})
    refused(bert, out, ValueError, f"numbers for '{name}' that differ .* write \"tie_word_embeddings\": false")


@pytest.mark.parametrize("store", [lambda folder: None, as_pytorch_file], ids=["safetensors", "pytorch"])
def test_weights_that_are_cut_short_are_refused(bert: Path, out: Path, store: Any) -> None:
    store(bert)
    (file,) = [*bert.glob("*.safetensors"), *bert.glob("*.bin")]
    whole = file.read_bytes()
    for size in (0, 5, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:size])
        refused(bert, out, ValueError, f"{file}: (cut short, damaged|holds more than weights)")


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("sprung"),)


def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(
    bert: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bert)
    as_pytorch_file(bert)
    torch.save({"bert.embeddings.word_embeddings.weight": Trap()}, bert / "pytorch_model.bin")
    refused(bert, out, ValueError, "holds more than weights, and loading it could run code")
    (bert / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(), protocol=2))
    refused(bert, out, ValueError, "holds more than weights, and loading it could run code")


def test_a_training_checkpoint_around_the_weights_is_refused(bert: Path, out: Path) -> None:
    as_pytorch_file(bert)
    torch.save({"state_dict": {}, "epoch": 3}, bert / "pytorch_model.bin")
    refused(bert, out, ValueError, "not a state dict; save it as one")


def test_a_missing_shard_is_named(bert: Path, out: Path) -> None:
    as_shards(bert)
    shard = sorted(bert.glob("model-*.safetensors"))[1]
    shard.unlink()
    refused(bert, out, FileNotFoundError, f"{shard}: missing; the index beside it")


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
