from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from nlpkit.pet.classifiers.sentinels import SentinelClassifier
from nlpkit.pet.clozes.examples import Example
from nlpkit.pet.clozes.verbalizer import Verbalizer
from nlpkit.pet.training.label_loss import LabelLoss
from nlpkit.pet.training.trainer import PetTrainer
from nlpkit.wobert.tokenizing.tokenizer import WoBertTokenizer
from tests.pet.models import TEXTS, labelled_examples, small_model
from tests.pet.training.test_trainer import settings

WORDS = {"good": ["很", "满意"], "bad": "不好", "mixed": "人"}


def tokenizer_of_characters() -> PreTrainedTokenizerFast:
    names = [
        "<pad>",
        "</s>",
        "<unk>",
        *sorted(set("".join(TEXTS))),
        "满",
        "意",
        *(f"<extra_id_{n}>" for n in range(4)),
    ]
    vocabulary = {name: number for number, name in enumerate(dict.fromkeys(names))}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=[f"<extra_id_{n}>" for n in range(4)],
        model_max_length=64,
    )


def classifier(pattern: str = "{mask}满意。{text}", **changes: object) -> SentinelClassifier:
    tokenizer = tokenizer_of_characters()
    torch.manual_seed(1)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=16,
        d_kv=8,
        d_ff=24,
        num_layers=2,
        num_heads=2,
        dropout_rate=0.0,
        decoder_start_token_id=0,
        initializer_factor=3.0,
    )
    model = T5ForConditionalGeneration(config).double().eval()
    verbalizer = changes.pop("verbalizer", WORDS)
    return SentinelClassifier(model, tokenizer, pattern, verbalizer, **changes)  # type: ignore[arg-type]


def filling_score(found: SentinelClassifier, source: str, target: str) -> list[float]:
    """Log-probabilities of the target's tokens after the first, through all logits of one plain pass."""
    ids = found.tokenizer(source, return_tensors="pt")
    labels = found.tokenizer(target, add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logits = found.model(**ids, labels=labels).logits[0].double().log_softmax(-1)
    return [float(logits[place, labels[0, place]]) for place in range(1, labels.shape[1])]


@pytest.mark.parametrize("normalization", ["none", "mean"])
def test_scores_are_those_of_one_filling_at_a_time(normalization: str) -> None:
    found = classifier(verbalizer=Verbalizer(WORDS, length_normalization=normalization, aggregate="max")).double()
    scores = found.scores(TEXTS).double().softmax(-1)
    for text, row in zip(TEXTS, scores, strict=True):
        by_label = []
        for words in WORDS.values():
            own = []
            for word in [words] if isinstance(words, str) else words:
                logs = filling_score(found, f"<extra_id_0>满意。{text}", f"<extra_id_0>{word}<extra_id_1>")
                own.append(sum(logs) / (len(logs) if normalization == "mean" else 1))
            by_label.append(max(own))
        torch.testing.assert_close(row, torch.tensor(by_label, dtype=torch.float64).softmax(-1), rtol=0, atol=1e-10)


def test_each_slot_has_a_sentinel_of_its_own() -> None:
    found = classifier("{mask}{text}{mask}", verbalizer={"a": [("很", "不好")], "b": [("不", "人")]}).double()
    row = found.scores(["天气"])[0].double().softmax(-1)
    expected = [
        np.mean(
            filling_score(found, "<extra_id_0>天气<extra_id_1>", f"<extra_id_0>{one}<extra_id_1>{two}<extra_id_2>")
        )
        for one, two in (("很", "不好"), ("不", "人"))
    ]
    torch.testing.assert_close(row, torch.tensor(expected, dtype=torch.float64).softmax(-1), rtol=0, atol=1e-10)


def test_neither_batch_size_nor_order_change_predictions() -> None:
    found = classifier().double()
    together = found.predict_proba(TEXTS)
    np.testing.assert_allclose(found.predict_proba(TEXTS, batch_size=1), together, rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.predict_proba(TEXTS[::-1])[::-1], together, rtol=0, atol=1e-10)


def test_examples_may_bring_candidates_of_their_own() -> None:
    found = classifier("{text}{mask}", verbalizer=None).double()
    three, two = Example({"text": "天气"}, "2", ("很", "不好", "人")), Example({"text": "酒店"}, "0", ("好", "不"))
    together = found.predict_proba([three, two])
    assert together[1, 2] == 0
    np.testing.assert_allclose(together[1, :2], found.predict_proba([two])[0], rtol=0, atol=1e-10)
    with pytest.raises(ValueError, match="needs candidates to choose from"):
        found.predict(["天气"])


def test_it_trains_like_any_classifier(tmp_path: Path) -> None:
    found = classifier()
    arguments = settings(tmp_path, max_steps=60, per_device_train_batch_size=8, learning_rate=0.02)
    PetTrainer(LabelLoss(found), arguments, labelled_examples()).train()
    assert found.predict(labelled_examples()) == [example.label for example in labelled_examples()]


def test_saved_classifiers_answer_the_same(tmp_path: Path) -> None:
    found = classifier().float().calibrate(TEXTS)
    found.save_pretrained(tmp_path)
    again = SentinelClassifier.from_pretrained(tmp_path)
    np.testing.assert_array_equal(again.predict_proba(TEXTS), found.predict_proba(TEXTS))


def test_a_tokenizer_without_sentinels_is_refused(small_vocabulary: dict[str, int]) -> None:
    tokenizer = WoBertTokenizer(small_vocabulary)
    with pytest.raises(ValueError, match="has no <extra_id_0>; use a tokenizer of T5 or mT5"):
        SentinelClassifier(small_model(len(tokenizer)), tokenizer, "{mask}{text}", {"a": "很", "b": "不"})
