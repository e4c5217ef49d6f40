from __future__ import annotations

import copy
import pickle
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForMaskedLM

from nlpkit.pet.classifiers.pet_classifier import PetClassifier, load_masked_lm
from nlpkit.pet.clozes.examples import Example
from nlpkit.pet.clozes.verbalizer import Verbalizer
from nlpkit.wobert.configuration import WoBertConfig
from nlpkit.wobert.modeling import WoBertModel
from tests.pet.models import TEXTS, WORDS, labelled_examples, small_classifier, small_model
from tests.reference.pet_scores import combine, word_score

ORDERS = ["parallel", "most_confident_first", "left_to_right"]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("normalization", ["none", "mean"])
def test_scores_are_those_of_one_word_at_a_time_through_all_logits(
    small_vocabulary: dict[str, int], order: str, normalization: str
) -> None:
    label_words = {"good": ["很", "不错好"], "bad": "不", "long": ["好人好人", "今天好"]}
    expected = None
    for aggregate in ("mean", "max", "logsumexp"):
        verbalizer = Verbalizer(label_words, order, normalization, aggregate)
        classifier = small_classifier(small_vocabulary, "总之{mask}。{text}", verbalizer=verbalizer).double()
        words = verbalizer.tokenized(classifier.tokenizer, classifier.pattern)
        model, tokenizer, mean = classifier.model, classifier.tokenizer, normalization == "mean"
        if expected is None:
            expected = [
                [word_score(model, tokenizer, "总之", "。" + text, list(word.flat), order, mean) for word in words]
                for text in TEXTS
            ]
        for scores, row in zip(expected, classifier.scores(TEXTS).double().softmax(dim=-1), strict=True):
            by_label = [
                combine([score for score, word in zip(scores, words, strict=True) if word.label == label], aggregate)
                for label in range(3)
            ]
            torch.testing.assert_close(
                row, torch.tensor(by_label, dtype=torch.float64).softmax(-1), rtol=0, atol=1e-10
            )


@pytest.mark.parametrize("second", ["不错", "不错好"], ids=["of one length", "of several tokens"])
def test_words_have_their_own_probabilities_among_all_tokens(small_vocabulary: dict[str, int], second: str) -> None:
    verbalizer = Verbalizer({"good": ["很", second], "bad": "不"})
    classifier = small_classifier(small_vocabulary, "总之{mask}。{text}", verbalizer=verbalizer).double()
    words = iter(verbalizer.tokenized(classifier.tokenizer, classifier.pattern))
    found = classifier.word_probabilities(TEXTS[0])
    assert {label: list(own) for label, own in found.items()} == {"good": ["很", second], "bad": ["不"]}
    for share in [share for own in found.values() for share in own.values()]:
        tokens = list(next(words).flat)
        of_one = word_score(classifier.model, classifier.tokenizer, "总之", "。" + TEXTS[0], tokens, "parallel", True)
        assert share == pytest.approx(np.exp(of_one), rel=1e-10)
    with pytest.raises(ValueError, match="each example brings its own words"):
        small_classifier(small_vocabulary, verbalizer=None).word_probabilities(TEXTS[0])


def test_words_of_one_length_need_no_normalisation(small_vocabulary: dict[str, int]) -> None:
    classifier = small_classifier(small_vocabulary, verbalizer={"a": ["很", "不错"], "b": "不"})
    batch = classifier.collate([Example.of(text) for text in TEXTS])
    del batch["labels"], batch["groups"]
    plain, normalized = (classifier.word_scores(**batch, normalize=flag) for flag in (False, True))
    torch.testing.assert_close(plain.softmax(-1), normalized.softmax(-1))
    assert (normalized < 0).all()


def test_one_token_a_label_is_the_softmax_over_their_logits_at_the_mask(small_vocabulary: dict[str, int]) -> None:
    classifier = small_classifier(small_vocabulary, verbalizer={"a": "很", "b": "不", "c": "满意"}).double()
    for text in TEXTS:
        inputs = classifier.tokenizer("[MASK]满意。" + text, return_tensors="pt")
        with torch.no_grad():
            logits = classifier.model(**inputs).logits[0, 1]
        expected = logits[[small_vocabulary[word] for word in ("很", "不", "满意")]].softmax(-1)
        np.testing.assert_allclose(classifier.predict_proba([text])[0], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("order", ORDERS)
def test_neither_batch_size_nor_order_change_predictions(small_vocabulary: dict[str, int], order: str) -> None:
    classifier = small_classifier(small_vocabulary, verbalizer=Verbalizer(WORDS, order=order)).double()
    together = classifier.predict_proba(TEXTS)
    np.testing.assert_allclose(classifier.predict_proba(TEXTS, batch_size=1), together, rtol=0, atol=1e-10)
    np.testing.assert_allclose(classifier.predict_proba(TEXTS[::-1])[::-1], together, rtol=0, atol=1e-10)


def test_several_slots_take_the_parts_of_a_word(small_vocabulary: dict[str, int]) -> None:
    classifier = small_classifier(
        small_vocabulary, "{mask}。{text}，{mask}", verbalizer={"a": [("很", "不错好")], "b": [("不", "好")]}
    ).double()
    ids = small_vocabulary
    found = classifier.scores(["今天"])[0].double().softmax(-1)
    expected = []
    for first, second in ([ids["很"]], [ids["不错"], ids["好"]]), ([ids["不"]], [ids["好"]]):
        inputs = classifier.tokenizer("[MASK]。今天，" + "[MASK]" * len(second), return_tensors="pt")
        with torch.no_grad():
            logs = classifier.model(**inputs).logits[0].log_softmax(-1)
        masks = (inputs["input_ids"][0] == 4).nonzero()[:, 0]
        expected.append(logs[masks, torch.tensor(first + second)].mean())
    torch.testing.assert_close(found, torch.stack(expected).softmax(-1), rtol=0, atol=1e-10)


def test_examples_may_bring_candidates_of_their_own(small_vocabulary: dict[str, int]) -> None:
    classifier = small_classifier(small_vocabulary, "{text}{mask}", verbalizer=None).double()
    three = Example({"text": "今天"}, "2", ("很", "不错好", "满意"))
    two = Example({"text": "酒店"}, "0", ("好", "不"))
    together = classifier.predict_proba([three, two])
    assert together.shape == (2, 3)
    assert together[1, 2] == 0
    np.testing.assert_allclose(together[0], classifier.predict_proba([three])[0], rtol=0, atol=1e-10)
    np.testing.assert_allclose(together[1, :2], classifier.predict_proba([two])[0], rtol=0, atol=1e-10)
    assert classifier.predict([three, two]) == [str(row.argmax()) for row in together]
    loss = classifier(**classifier.collate([three, two])).loss
    expected = -(np.log(together[0, 2]) + np.log(together[1, 0])) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-9)


def test_candidates_that_the_model_cannot_write_still_compete(small_vocabulary: dict[str, int]) -> None:
    classifier = small_classifier(small_vocabulary, "{text}{mask}", verbalizer=None)
    assert classifier.predict_proba([Example({"text": "今天"}, "0", ("龘", "好"))]).min() > 0


def test_no_logits_are_computed_but_those_asked_for(small_vocabulary: dict[str, int]) -> None:
    classifier = small_classifier(small_vocabulary, verbalizer={"a": "很", "b": "不"})
    seen = []
    classifier.model.get_output_embeddings().register_forward_hook(
        lambda module, inputs, output: seen.append(tuple(output.shape))
    )
    classifier.predict(TEXTS)
    assert seen
    assert all(0 in shape for shape in seen)


def test_the_model_itself_answers_as_before(small_vocabulary: dict[str, int]) -> None:
    model = small_model(len(small_vocabulary))
    ids = torch.tensor([[2, 7, 8, 3]])
    before = model(input_ids=ids).logits
    classifier = small_classifier(small_vocabulary)
    classifier.predict(TEXTS)
    assert torch.equal(classifier.model(input_ids=ids).logits, before)


def test_threads_do_not_mix_their_requests(small_vocabulary: dict[str, int]) -> None:
    classifier = small_classifier(small_vocabulary)
    expected = [classifier.scores([text]) for text in TEXTS]
    found: dict[int, torch.Tensor] = {}

    def ask(number: int) -> None:
        for _ in range(5):
            found[number] = classifier.scores([TEXTS[number]])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(TEXTS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, scores in enumerate(expected):
        torch.testing.assert_close(found[number], scores)


def test_saved_classifiers_answer_the_same_and_stay_masked_lms(
    small_vocabulary: dict[str, int], tmp_path: Path
) -> None:
    verbalizer = Verbalizer(WORDS, aggregate="max")
    classifier = small_classifier(small_vocabulary, verbalizer=verbalizer, max_length=20).float()
    classifier.calibrate(TEXTS)
    classifier.save_pretrained(tmp_path / "saved")
    again = PetClassifier.from_pretrained(tmp_path / "saved")
    np.testing.assert_array_equal(again.predict_proba(TEXTS), classifier.predict_proba(TEXTS))
    assert again.max_length == 20
    assert type(AutoModelForMaskedLM.from_pretrained(tmp_path / "saved")).__name__ == "WoBertForMaskedLM"
    other = PetClassifier.from_pretrained(tmp_path / "saved", pattern="{text}{mask}")
    assert other.pattern.template == "{text}{mask}"


def test_pickled_and_copied_classifiers_answer_the_same(small_vocabulary: dict[str, int]) -> None:
    classifier = small_classifier(small_vocabulary)
    expected = classifier.predict_proba(TEXTS)
    np.testing.assert_array_equal(copy.deepcopy(classifier).predict_proba(TEXTS), expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(classifier)).predict_proba(TEXTS), expected)


def test_calibration_removes_what_the_model_likes_anyway(small_vocabulary: dict[str, int]) -> None:
    classifier = small_classifier(small_vocabulary).double()
    classifier.calibrate([""])
    np.testing.assert_allclose(classifier.predict_proba([""]), 1 / 3, rtol=0, atol=1e-10)
    classifier.calibrate(TEXTS)
    mean = np.log(classifier.predict_proba(TEXTS)).mean(axis=0)
    np.testing.assert_allclose(mean, mean.mean(), rtol=0, atol=1e-10)


def test_what_is_trained_is_what_predicts(small_vocabulary: dict[str, int]) -> None:
    classifier = small_classifier(small_vocabulary).double().calibrate(TEXTS)
    batch = classifier.collate(labelled_examples())
    output = classifier(**batch)
    predicted = classifier.scores(TEXTS)
    torch.testing.assert_close(output.logits.softmax(-1), predicted.softmax(-1), rtol=0, atol=1e-10)
    torch.testing.assert_close(output.loss, torch.nn.functional.cross_entropy(output.logits, batch["labels"]))
    again = classifier.prior
    assert again is not None
    torch.testing.assert_close(classifier.calibrate(TEXTS).prior, again)


def test_calibration_needs_texts_and_common_labels(small_vocabulary: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="no texts to calibrate on"):
        small_classifier(small_vocabulary).calibrate([])
    with pytest.raises(ValueError, match="candidates of their own"):
        small_classifier(small_vocabulary, verbalizer=None).calibrate(TEXTS)


def test_predictions_leave_the_training_mode_alone(small_vocabulary: dict[str, int]) -> None:
    classifier = small_classifier(small_vocabulary).train()
    classifier.predict(TEXTS)
    assert classifier.training
    assert classifier.predict([]) == []


def test_the_loss_passes_over_examples_without_labels(small_vocabulary: dict[str, int]) -> None:
    classifier = small_classifier(small_vocabulary)
    examples = labelled_examples()
    with_gap = [*examples[:3], Example(examples[3].fields)]
    torch.testing.assert_close(
        classifier(**classifier.collate(with_gap)).loss, classifier(**classifier.collate(examples[:3])).loss
    )


def test_labels_and_candidates_are_checked(small_vocabulary: dict[str, int]) -> None:
    classifier = small_classifier(small_vocabulary)
    with pytest.raises(ValueError, match="label 'worse' is not one of 'good', 'bad', 'mixed'"):
        classifier.collate([Example({"text": "a"}, "worse")])
    with pytest.raises(ValueError, match="no rows to make a batch of"):
        classifier.collate([])
    with pytest.raises(ValueError, match="needs candidates to choose from"):
        small_classifier(small_vocabulary, verbalizer=None).predict(["今天"])


def test_long_texts_are_cut_to_the_model(small_vocabulary: dict[str, int]) -> None:
    classifier = small_classifier(small_vocabulary)
    assert classifier.max_length == 64
    assert classifier.predict_proba(["今天天气不错" * 500]).shape == (1, 3)


def test_a_checkpoint_without_its_head_is_refused(tmp_path: Path, small_vocabulary: dict[str, int]) -> None:
    config = WoBertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    WoBertModel(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="without a trained masked-LM head every filling is random"):
        load_masked_lm(tmp_path)


def test_a_folder_without_a_pattern_is_refused(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    small_classifier(small_vocabulary).model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds no saved classifier; give a pattern"):
        PetClassifier.from_pretrained(tmp_path)


def test_other_output_layers_are_used_whole(small_vocabulary: dict[str, int]) -> None:
    classifier = small_classifier(small_vocabulary)
    expected = classifier.predict_proba(TEXTS)

    class Wrapped(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, states: torch.Tensor) -> torch.Tensor:
            return self.inner(states)

    decoder = classifier.model.get_output_embeddings()
    decoder._forward_pre_hooks.clear()
    classifier.model.cls.predictions.decoder = Wrapped(decoder)
    np.testing.assert_allclose(classifier.predict_proba(TEXTS), expected, rtol=0, atol=1e-10)


def test_half_a_surrogate_pair_is_named_by_its_text_and_not_by_a_row_of_a_sorted_batch(
    small_vocabulary: dict[str, int],
) -> None:
    classifier = small_classifier(small_vocabulary)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for ask in (
            lambda: classifier.predict(["\ud800房间"]),
            lambda: classifier.predict(["好", "好", "\ud800房间"]),
            lambda: classifier.calibrate(["好"] * 64 + ["\ud800房间"]),
        ):
            with pytest.raises(
                ValueError, match=r"^the text '满意。\\ud800房间' has a lone surrogate, '\\ud800': no UTF-8"
            ):
                ask()
