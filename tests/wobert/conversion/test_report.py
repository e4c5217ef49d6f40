from __future__ import annotations

import json

from nlpkit.wobert.conversion.report import ConversionReport, TensorRecord

REPORT = ConversionReport(
    source="bert_model.ckpt",
    source_format="tensorflow",
    destination="wobert",
    model="WoBertForMaskedLM",
    dtype="float32",
    parameters=1234567,
    tensors=[
        TensorRecord("transposed", "a/kernel", (2, 3), "a.weight", (3, 2)),
        TensorRecord("copied", "a/bias", (3,), "a.bias", (3,)),
        TensorRecord("tied", target="decoder.bias", target_shape=(3,), note="to a.bias"),
        TensorRecord("left out", "global_step", (), note="training state"),
        TensorRecord("left out", "a/bias/adam_m", (3,), note="training state"),
    ],
    notes=["not used of the source's configuration: directionality"],
)


def test_printed_it_is_a_table_with_a_heading_a_count_and_notes() -> None:
    assert str(REPORT).splitlines() == [
        "bert_model.ckpt (tensorflow) -> WoBertForMaskedLM in wobert: 1,234,567 parameters, float32",
        "fate        source         shape  target        shape  note",
        "transposed  a/kernel       (2 3)  a.weight      (3 2)",
        "copied      a/bias         (3)    a.bias        (3)",
        "tied                              decoder.bias  (3)    to a.bias",
        "left out    global_step    ()                          training state",
        "left out    a/bias/adam_m  (3)                         training state",
        "1 transposed, 1 copied, 1 tied, 2 left out",
        "note: not used of the source's configuration: directionality",
    ]


def test_as_a_dictionary_it_is_json() -> None:
    report = json.loads(json.dumps(REPORT.to_dict()))
    assert report["tensors"][0] == {
        "fate": "transposed",
        "source": "a/kernel",
        "source_shape": [2, 3],
        "target": "a.weight",
        "target_shape": [3, 2],
        "note": "",
    }
    assert (report["model"], report["parameters"]) == ("WoBertForMaskedLM", 1234567)
