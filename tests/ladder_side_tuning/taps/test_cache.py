"""Cached taps give what live ones give, survive interruption and refuse what is not theirs."""

from __future__ import annotations

import copy
import errno
import json
import os
import pickle
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save
from torch import Tensor

from nlpkit.ladder_side_tuning.building import get_ladder_model
from nlpkit.ladder_side_tuning.configuration import LadderConfig
from nlpkit.ladder_side_tuning.taps.cache import TapCache
from nlpkit.ladder_side_tuning.taps.caching import estimate_tap_bytes
from nlpkit.ladder_side_tuning.taps.shard import quantise
from nlpkit.losses import CrossEntropyLoss
from nlpkit.training.task_loss.model_inputs import model_inputs
from tests.ladder_side_tuning.families_and_heads import make
from tests.ladder_side_tuning.small_models import SEQ2SEQ, answers, small_model

ROOT = Path(__file__).resolve().parents[3]
Row = dict[str, Any]


def some_rows(name: str, count: int = 9) -> list[Row]:
    generator = torch.Generator().manual_seed(6)
    rows: list[Row] = []
    for number in range(count):
        rows.append({"input_ids": torch.randint(5, 40, (3 + number % 4,), generator=generator).tolist()})
        if name in SEQ2SEQ:
            rows[-1]["labels"] = torch.randint(5, 40, (2 + number % 3,), generator=generator).tolist()
        elif name == "bert-sequence":
            rows[-1]["labels"] = number % 3
    return rows


def collate(rows: list[Row], length: int = 0) -> dict[str, Tensor]:
    length = max(length, *(len(row["input_ids"]) for row in rows))
    batch = {
        "input_ids": torch.tensor([row["input_ids"] + [0] * (length - len(row["input_ids"])) for row in rows]),
        "attention_mask": torch.tensor([[int(n < len(row["input_ids"])) for n in range(length)] for row in rows]),
    }
    labels = [row.get("labels") for row in rows]
    if isinstance(labels[0], list):
        longest = max(len(found) for found in labels)
        batch["labels"] = torch.tensor([found + [-100] * (longest - len(found)) for found in labels])
    elif labels[0] is not None:
        batch["labels"] = torch.tensor(labels)
    return batch


def ladder_for(name: str, **settings: Any) -> Any:
    return get_ladder_model(small_model(name), LadderConfig(**{"reduction": 2, "layers": 2, **settings})).eval()


def stop_the_backbone(ladder: Any) -> None:
    for stack in ladder.stacks:
        for rung in stack.blocks(ladder):
            rung.block.forward = lambda *args, **kwargs: pytest.fail("the backbone ran")


@pytest.mark.parametrize("name", ["bert-sequence", "bert-mlm", "llama", "t5", "bart"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.1), ("int8", 0.1)])
def test_cached_taps_give_the_answers_of_live_ones(name: str, dtype: str, tolerance: float, tmp_path: Path) -> None:
    ladder, rows = ladder_for(name).double(), some_rows(name)  # what differs is the precision of the cache
    batch = collate(rows[2:6])
    expected = answers(ladder(**batch))
    cache = ladder.cache_taps(rows, tmp_path, collate, dtype=dtype, batch_size=4, show_progress=False)
    assert len(cache) == len(rows)
    ladder.use_tap_cache(cache)
    stop_the_backbone(ladder)
    found = answers(ladder(**batch))
    real = batch["labels"] != -100 if name in SEQ2SEQ else batch["attention_mask"].bool()
    if found.dim() == 3:
        found, expected = found[real], expected[real]
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * expected.abs().max().item())


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_the_trainer_finds_rows_whose_labels_are_padded_further(name: str, tmp_path: Path) -> None:
    """It gives a decoder what it reads in place of labels, and lengths of labels differ."""
    ladder, rows = ladder_for(name), some_rows(name)
    cache = ladder.cache_taps(rows, tmp_path, collate, show_progress=False)
    batch = collate(rows[:3])
    assert len({len(row["labels"]) for row in rows[:3]}) == 3
    inputs = model_inputs(ladder, batch, CrossEntropyLoss())
    assert "labels" not in inputs
    taps = cache.look_up(ladder, inputs)
    assert taps is not None
    expected = cache.look_up(ladder, batch)
    for stack, found in taps.items():
        for one, other in zip(found, expected[stack], strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_gradients_with_the_cache_are_those_without_it(tmp_path: Path) -> None:
    ladder, rows = ladder_for("bert-sequence", dropout=0.0).double(), some_rows("bert-sequence")
    for module in ladder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.0
    ladder.train()
    gradients = []
    for cache in (None, ladder.cache_taps(rows, tmp_path, collate, dtype="float32", show_progress=False)):
        ladder.use_tap_cache(cache)
        ladder.zero_grad()
        ladder(**collate(rows[:4], length=12)).loss.backward()
        gradients.append({key: p.grad.clone() for key, p in ladder.named_parameters() if p.grad is not None})
    for key, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][key], gradient, rtol=1e-4, atol=1e-6)


def test_a_batch_outside_the_cache_is_an_error_in_training_and_runs_live_in_evaluation(tmp_path: Path) -> None:
    ladder, rows = ladder_for("bert-sequence").double(), some_rows("bert-sequence")
    other = {"input_ids": torch.tensor([[9, 9, 9]])}
    expected = ladder(**other).logits
    ladder.use_tap_cache(ladder.cache_taps(rows, tmp_path, collate, show_progress=False))
    assert torch.equal(ladder(**other).logits, expected)
    embedded = {"inputs_embeds": ladder.get_input_embeddings()(other["input_ids"])}
    torch.testing.assert_close(ladder(**embedded).logits, expected)
    with pytest.raises(
        ValueError, match=r"a batch is not in the tap cache .*, which holds 9 rows; cache all training"
    ):
        ladder.train()(**other)


@pytest.mark.parametrize("head", ["texts", "questions"])
@pytest.mark.parametrize("family", ["T5", "mT5", "BART", "mBART"])
def test_classifiers_of_encoder_decoder_models_keep_taps(family: str, head: str, tmp_path: Path) -> None:
    """Their labels are classes or places, and the decoder reads the encoder's inputs, shifted."""
    ladder = get_ladder_model(make(family, head), LadderConfig(reduction=2))
    rows = [{"input_ids": [5, 6, length, 2][-length:], "attention_mask": [1] * length} for length in (4, 3, 4)]
    for number, row in enumerate(rows):
        row |= {"labels": number % 2} if head == "texts" else {"start_positions": 1, "end_positions": number}

    def pad(chosen: list[Row]) -> dict[str, Tensor]:
        longest = max(len(row["input_ids"]) for row in chosen) if head == "texts" else 6
        batch = {}
        for name, padding in (("input_ids", ladder.config.pad_token_id), ("attention_mask", 0)):
            batch[name] = torch.tensor([row[name] + [padding] * (longest - len(row[name])) for row in chosen])
        targets = [name for name in chosen[0] if name not in batch]
        return batch | {name: torch.tensor([row[name] for row in chosen]) for name in targets}

    cache = ladder.cache_taps(rows, tmp_path, pad, dtype="float64", batch_size=1, show_progress=False)
    assert len(cache) == 2  # the first row comes again
    expected = ladder(**pad(rows))
    ladder.use_tap_cache(cache)
    stop_the_backbone(ladder)
    found = ladder(**pad(rows))
    torch.testing.assert_close(answers(found), answers(expected), rtol=0, atol=1e-10)
    torch.testing.assert_close(found.loss, expected.loss, rtol=0, atol=1e-10)  # over padding, too, if of places
    ladder.train()(**pad(rows)).loss.backward()
    inputs = {name: value for name, value in pad(rows[::-1]).items() if name in ("input_ids", "attention_mask")}
    assert cache.look_up(ladder, inputs) is not None


@pytest.mark.parametrize("family", ["BERT", "DistilBERT", "Llama"])
def test_heads_for_questions_read_padding_as_they_do_without_the_cache(family: str, tmp_path: Path) -> None:
    ladder = get_ladder_model(make(family, "questions"), LadderConfig(reduction=2))
    rows = [{"input_ids": ids, "start_positions": 1, "end_positions": 1} for ids in ([5, 6, 7, 8], [5, 6], [5, 6, 0])]

    def pad(chosen: list[Row], length: int = 6) -> dict[str, Tensor]:
        targets = {name: torch.tensor([row[name] for row in chosen]) for name in chosen[0] if name != "input_ids"}
        return collate([{"input_ids": row["input_ids"]} for row in chosen], length) | targets

    expected = ladder(**pad(rows))
    ladder.use_tap_cache(ladder.cache_taps(rows, tmp_path / "a", pad, dtype="float64", show_progress=False))
    assert ladder(**pad(rows[:2], 7)).loss.isfinite()  # runs live
    stop_the_backbone(ladder)
    found = ladder(**pad(rows))
    torch.testing.assert_close(answers(found), answers(expected), rtol=0, atol=1e-12)  # batched in another order
    torch.testing.assert_close(found.loss, expected.loss, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="a batch is not in the tap cache"):
        ladder.train()(**pad(rows[:2], 7))


def test_padding_of_several_lengths_is_refused_beside_heads_for_questions(tmp_path: Path) -> None:
    ladder, rows = ladder_for("bert-qa"), some_rows("bert-qa")
    with pytest.raises(
        ValueError, match=r"collate pads batches to 4 and 6 tokens, and the head of BertForQuestionAnswering reads"
    ):
        ladder.cache_taps(rows, tmp_path, collate, batch_size=4, show_progress=False)
    whole = [row for row in rows if len(row["input_ids"]) in (3, 6)]
    cache = ladder.cache_taps(whole, tmp_path, collate, batch_size=1, show_progress=False)  # none is padded
    assert cache.look_up(ladder, collate(whole[:1])) is not None


def test_columns_that_the_trainer_drops_are_dropped(tmp_path: Path) -> None:
    from datasets import Dataset
    from transformers import BertTokenizer, DataCollatorWithPadding

    tokenizer = BertTokenizer(vocab={"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "好": 4, "差": 5})
    texts = Dataset.from_dict({"text": ["好", "差好"], "label": [0, 1]}).map(lambda row: tokenizer(row["text"]))
    cache = ladder_for("bert-sequence").cache_taps(
        texts, tmp_path, DataCollatorWithPadding(tokenizer), show_progress=False
    )
    assert len(cache) == 2


def test_an_encoder_without_its_decoder_has_a_ladder(tmp_path: Path) -> None:
    ladder = get_ladder_model(make("T5", "tokens"), LadderConfig(reduction=2))
    assert [stack.role for stack in ladder.stacks] == ["encoder"]
    rows = [{"input_ids": [5, 6, 7]}]
    expected = ladder(**collate(rows)).logits
    ladder.use_tap_cache(ladder.cache_taps(rows, tmp_path, collate, dtype="float64", show_progress=False))
    assert torch.equal(ladder(**collate(rows)).logits, expected)


def test_a_ladder_with_a_cache_generates(tmp_path: Path) -> None:
    ladder, rows = ladder_for("t5"), some_rows("t5")
    batch = {name: value for name, value in collate(rows[:2]).items() if name != "labels"}
    expected = ladder.generate(**batch, max_new_tokens=5, num_beams=2)
    ladder.use_tap_cache(ladder.cache_taps(rows, tmp_path, collate, show_progress=False))
    assert torch.equal(ladder.generate(**batch, max_new_tokens=5, num_beams=2), expected)


def test_caches_can_be_copied_and_pickled(tmp_path: Path) -> None:
    ladder, rows = ladder_for("bert-sequence"), some_rows("bert-sequence")
    ladder.use_tap_cache(ladder.cache_taps(rows, tmp_path, collate, show_progress=False))
    expected = ladder(**collate(rows)).logits
    for found in (copy.deepcopy(ladder), pickle.loads(pickle.dumps(ladder))):
        stop_the_backbone(found)
        assert torch.equal(found(**collate(rows)).logits, expected)


def test_rows_without_what_the_decoder_reads_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a row has no 'labels'; the taps of a decoder depend on what it reads"):
        ladder_for("t5").cache_taps([{"input_ids": [5, 6]}], tmp_path, collate)


def test_an_interrupted_cache_goes_on_where_it_was(tmp_path: Path) -> None:
    ladder, rows = ladder_for("bert-sequence"), some_rows("bert-sequence")
    calls = []

    def interrupted(chosen: list[Row]) -> dict[str, Tensor]:
        if len(calls) == 4:  # the first is of the shortest and the longest row, to see whether padding matters
            raise KeyboardInterrupt
        calls.append(chosen)
        return collate(chosen)

    with pytest.raises(KeyboardInterrupt):
        ladder.cache_taps(rows, tmp_path, interrupted, batch_size=2, shard_bytes=1, show_progress=False)
    assert len(TapCache(tmp_path)) == 6
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.safetensors")}
    ran = []
    handle = ladder.bert.encoder.layer[0].block.register_forward_hook(lambda _, args, __: ran.append(len(args[0])))
    cache = ladder.cache_taps(rows, tmp_path, collate, batch_size=2, show_progress=False)
    handle.remove()
    assert len(cache) == 9
    assert sum(ran) == 3
    after = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.safetensors")}
    assert before.items() <= after.items()


def test_a_shard_that_was_deleted_is_made_again(tmp_path: Path) -> None:
    ladder, rows = ladder_for("bert-sequence"), some_rows("bert-sequence")
    ladder.cache_taps(rows, tmp_path, collate, batch_size=3, shard_bytes=1, show_progress=False)
    assert len(list(tmp_path.glob("*.safetensors"))) == 3
    (tmp_path / "taps-00001.safetensors").unlink()
    assert len(ladder.cache_taps(rows, tmp_path, collate, show_progress=False)) == 9
    assert sorted(path.name[5:10] for path in tmp_path.glob("*.safetensors")) == ["00000", "00002", "00003"]


def test_stale_caches_are_refused(tmp_path: Path) -> None:
    ladder, rows = ladder_for("bert-sequence"), some_rows("bert-sequence")
    cache = ladder.cache_taps(rows, tmp_path, collate, show_progress=False)
    with torch.no_grad():
        ladder.bert.encoder.layer[0].block.output.dense.weight[0, 0] += 0.5
    with pytest.raises(ValueError, match="is stale: it was made with other backbone weights or settings"):
        ladder.use_tap_cache(cache)
    with pytest.raises(
        ValueError, match=r"holds results made with other settings: fingerprints was .* or give another folder"
    ):
        ladder.cache_taps(rows, tmp_path, collate, show_progress=False)
    with pytest.raises(ValueError, match=r"holds layers \[1, 3\] of 'bert.encoder', the ladder also taps \[0, 2\]"):
        ladder_for("bert-sequence", layers=None).use_tap_cache(cache)
    ladder_for("bert-sequence", layers=[3]).use_tap_cache(cache)
    with pytest.raises(ValueError, match="other settings: dtype was 'bfloat16' and is now 'int8'"):
        ladder_for("bert-sequence").cache_taps(rows, tmp_path, collate, dtype="int8", show_progress=False)


def test_truncated_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no tap_cache\.json; make a cache with ladder.cache_taps"):
        TapCache(tmp_path)
    ladder_for("bert-sequence").cache_taps(some_rows("bert-sequence"), tmp_path, collate, show_progress=False)
    shard = tmp_path / "taps-00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"taps-00000\.safetensors is cut off or damaged .*; delete it and cache"):
        TapCache(tmp_path)
    (tmp_path / "tap_cache.json").write_text(json.dumps({"format": 99}), "utf-8")
    with pytest.raises(ValueError, match="is of format 99, this nlpkit reads 5"):
        TapCache(tmp_path)
    with pytest.raises(ValueError, match="dtype='fp8' is unknown; use 'float64', 'float32', 'bfloat16', 'int8'"):
        ladder_for("bert-sequence").cache_taps([], tmp_path, collate, dtype="fp8")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"tap_cache\.json is damaged or cut off"),
        ("", r"tap_cache\.json is damaged or cut off"),
        ("[1]", r"tap_cache\.json must hold a JSON object"),
        ('{"format": 5}', r"tap_cache\.json is damaged: it lacks 'fingerprints'"),
    ],
)
def test_a_broken_manifest_is_named_when_it_is_read_and_when_rows_are_added(
    content: str, message: str, tmp_path: Path
) -> None:
    ladder, rows = ladder_for("bert-sequence"), some_rows("bert-sequence")
    ladder.cache_taps(rows, tmp_path, collate, show_progress=False)
    (tmp_path / "tap_cache.json").write_text(content, "utf-8")
    with pytest.raises(ValueError, match=message):
        TapCache(tmp_path)
    with pytest.raises(ValueError, match=r"tap_cache\.json|fingerprints was None"):
        ladder.cache_taps(rows, tmp_path, collate, show_progress=False)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_taps_that_are_not_what_was_written_are_refused(dtype: str, tmp_path: Path) -> None:
    ladder, rows = ladder_for("bert-sequence"), some_rows("bert-sequence")
    cache = ladder.cache_taps(rows, tmp_path, collate, dtype=dtype, show_progress=False)
    ladder.use_tap_cache(cache)
    whole = ladder(**collate(rows)).logits
    (shard,) = tmp_path.glob("taps-*.safetensors")
    content = bytearray(shard.read_bytes())
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    wanted = {"taps", "scales"} if dtype == "int8" else {"taps"}
    places = {name.rpartition(":")[2]: 8 + size + facts["data_offsets"][1] - 1 for name, facts in header.items()}
    assert wanted <= places.keys()
    for place in (places[name] for name in sorted(wanted)):
        broken = bytearray(content)
        broken[place] ^= 1
        shard.write_bytes(broken)
        ladder.use_tap_cache(TapCache(tmp_path))
        with pytest.raises(ValueError, match=r"damaged \(row \d is not what was written\); delete it and cache"):
            ladder(**collate(rows))
    shard.write_bytes(content)
    ladder.use_tap_cache(TapCache(tmp_path))
    assert torch.equal(ladder(**collate(rows)).logits, whole)


def test_taps_whose_manifest_is_gone_or_knows_no_fingerprint_are_refused(tmp_path: Path) -> None:
    ladder, rows = ladder_for("bert-sequence"), some_rows("bert-sequence")
    ladder.cache_taps(rows, tmp_path, collate, show_progress=False)
    manifest = tmp_path / "tap_cache.json"
    known = json.loads(manifest.read_text("utf-8"))
    manifest.write_text(json.dumps(known | {"fingerprints": {}}), "utf-8")
    with pytest.raises(ValueError, match="is stale: it was made with other backbone weights or settings"):
        ladder.use_tap_cache(TapCache(tmp_path))
    manifest.unlink()
    with pytest.raises(ValueError, match=r"holds results, and tap_cache\.json, which tells .* is gone: put it back"):
        ladder.cache_taps(rows, tmp_path, collate, show_progress=False)


def test_torn_shards_are_named(tmp_path: Path) -> None:
    ladder, rows = ladder_for("bert-sequence"), some_rows("bert-sequence")
    ladder.cache_taps(rows, tmp_path, collate, show_progress=False)
    shard = tmp_path / "taps-00000.safetensors"
    whole, tensors = shard.read_bytes(), load_file(shard)
    torn = [b"", whole[:4], bytes(len(whole)), whole[:8] + bytes(100) + whole[108:], whole + b"more"]
    for name in tensors:
        torn.append(save({key: tensor for key, tensor in tensors.items() if key != name}))
    torn.append(save(tensors | {"keys": tensors["keys"][1:]}))
    torn.append(save(tensors | {"bert.encoder:taps": tensors["bert.encoder:taps"][1:]}))
    torn.append(save(tensors | {"bert.encoder:offsets": tensors["bert.encoder:offsets"].flip(0)}))
    for content in torn:
        shard.write_bytes(content)
        with pytest.raises(ValueError, match=r"taps-00000\.safetensors is cut off or damaged .*; delete it and cache"):
            TapCache(tmp_path)
    shard.unlink()
    assert len(ladder.cache_taps(rows, tmp_path, collate, show_progress=False)) == 9


WRITER = """
import sys, time
from pathlib import Path
from tests.ladder_side_tuning.taps.test_cache import collate, ladder_for, some_rows

own, other = Path(sys.argv[2], sys.argv[3]), Path(sys.argv[2], sys.argv[4])

def slowly(rows):
    own.touch()  # both have begun before either goes on
    for _ in range(100):
        if other.exists():
            break
        time.sleep(0.05)
    return collate(rows)

ladder = ladder_for("bert-sequence")
rows = some_rows("bert-sequence", 40)
try:
    cache = ladder.cache_taps(rows, sys.argv[1], slowly, batch_size=8, shard_bytes=1, show_progress=False)
    print(len(cache))
except BlockingIOError as error:
    own.touch()
    print(error)
"""


@pytest.mark.slow
def test_of_two_processes_that_fill_one_cache_one_is_refused_and_no_row_is_lost(tmp_path: Path) -> None:
    (tmp_path / "signs").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "cache"), str(tmp_path / "signs"), own, other],
            env=environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for own, other in (("a", "b"), ("b", "a"))
    ]
    answers = sorted(writer.communicate(timeout=600)[0].strip().splitlines()[-1] for writer in writers)
    wanted = len({tuple(row["input_ids"]) for row in some_rows("bert-sequence", 40)})
    assert answers[0] == str(wanted)
    assert "is writing to" in answers[1] and "give another folder" in answers[1]
    assert len(TapCache(tmp_path / "cache")) == wanted


def test_a_full_disk_loses_nothing_that_was_written(tmp_path: Path) -> None:
    """A limit on the size of files makes writes fail as a full disk does, in the middle of a file."""
    ladder, rows = ladder_for("bert-sequence"), some_rows("bert-sequence")
    ladder.cache_taps(rows[:3], tmp_path, collate, shard_bytes=1, show_progress=False)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (512, limits[1]))
        with pytest.raises(
            OSError, match=r"cannot write taps \(File too large\); 3 of 9 rows are kept in .*: free"
        ) as told:
            ladder.cache_taps(rows, tmp_path, collate, show_progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert told.value.errno == errno.EFBIG
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert len(ladder.cache_taps(rows, tmp_path, collate, show_progress=False)) == 9


def test_a_disk_that_is_too_small_is_known_before_the_backbone_runs(tmp_path: Path) -> None:
    ladder = ladder_for("bert-sequence")
    stop_the_backbone(ladder)
    rows = [{"input_ids": range(10**12)}] * 2
    with pytest.raises(
        OSError, match=r"the taps of 2 rows take 119209\.29 GiB, .* GiB left; tap fewer layers, keep them"
    ):
        ladder.cache_taps(rows, tmp_path, collate, show_progress=False)


@pytest.mark.parametrize("name", ["batch_size", "shard_bytes"])
@pytest.mark.parametrize(("value", "error"), [(-1, ValueError), (0, ValueError), (2.0, TypeError)])
def test_sizes_that_are_none_are_refused(name: str, value: Any, error: type[Exception], tmp_path: Path) -> None:
    ladder, rows = ladder_for("bert-sequence"), some_rows("bert-sequence")
    with pytest.raises(error, match=rf"{name}={value}: give a whole number at least 1"):
        ladder.cache_taps(rows, tmp_path / "taps", collate, show_progress=False, **{name: value})
    assert not (tmp_path / "taps").exists()


@pytest.mark.parametrize("name", ["bert-sequence", "llama", "bart"])
@pytest.mark.parametrize("wish", ["output_hidden_states", "output_attentions", "use_cache"])
def test_what_only_a_pass_leaves_is_that_of_a_pass(name: str, wish: str, tmp_path: Path) -> None:
    ladder, rows = ladder_for(name).double(), some_rows(name)
    batch = collate(rows[:1])
    expected = ladder(**batch, **{wish: True})
    ladder.use_tap_cache(ladder.cache_taps(rows, tmp_path, collate, dtype="float64", show_progress=False))
    assert ladder.find_taps(batch) is not None
    found = ladder(**batch, **{wish: True})
    for part in ("hidden_states", "encoder_hidden_states", "decoder_hidden_states"):
        for one, other in zip(found.get(part) or (), expected.get(part) or (), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    kept, wanted = found.get("past_key_values"), expected.get("past_key_values")
    assert (kept is None) == (wanted is None)
    if wish == "use_cache" and wanted is not None:
        assert [layer.is_initialized for layer in layers_of(kept)] == [
            layer.is_initialized for layer in layers_of(wanted)
        ]


def layers_of(cache: Any) -> list[Any]:
    return list(getattr(cache, "self_attention_cache", cache).layers)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_the_estimate_is_what_the_files_take(dtype: str, tmp_path: Path) -> None:
    ladder, rows = ladder_for("t5"), some_rows("t5", 40)
    ladder.cache_taps(rows, tmp_path, collate, dtype=dtype, show_progress=False)
    tokens = [sum(len(row[name]) for row in rows) for name in ("input_ids", "labels")]
    expected = estimate_tap_bytes(ladder, tokens, dtype)
    found = sum(path.stat().st_size for path in tmp_path.glob("*.safetensors"))
    assert expected < found < expected + 40 * (16 + 32) + 1024


@given(seed=st.integers(0, 99), scale=st.sampled_from([1e-6, 1.0, 1e4]))
def test_eight_bits_lose_at_most_half_a_step(seed: int, scale: float) -> None:
    taps = scale * torch.randn(3, 2, 8, generator=torch.Generator().manual_seed(seed))
    numbers, scales = quantise(taps)
    error = (numbers.float() * scales[..., None] - taps).abs()
    assert (error <= scales[..., None] * 0.5001).all()
    assert torch.equal(quantise(torch.zeros(1, 4))[0], torch.zeros(1, 4, dtype=torch.int8))


def test_a_cache_is_used_by_its_folder(tmp_path: Path) -> None:
    ladder, rows = ladder_for("bert-sequence"), some_rows("bert-sequence")
    ladder.cache_taps(rows, tmp_path / "taps", collate, show_progress=False)
    live = ladder(**collate(rows)).logits
    ladder.use_tap_cache(str(tmp_path / "taps"))
    stop_the_backbone(ladder)
    torch.testing.assert_close(ladder(**collate(rows)).logits, live, rtol=0.02, atol=0.02)
    with pytest.raises(FileNotFoundError, match=r"holds no tap_cache\.json; make a cache with ladder\.cache_taps"):
        ladder.use_tap_cache(tmp_path)
    assert ladder.tap_cache is not None  # a refused one leaves that in place


def test_no_rows_make_no_cache(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there are no rows to cache the taps of"):
        ladder_for("bert-sequence").cache_taps([], tmp_path / "taps", collate, show_progress=False)
    assert not (tmp_path / "taps").exists()
