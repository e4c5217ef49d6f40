"""Draw the pictures of the pages, by the library itself, on the shipped model.

    make pictures

What is measured comes from ``benchmarks/results``; nothing is measured here. Entities and links are found by models
that learn from the few sentences below for a moment, to show what is drawn, and not how well that goes.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from nlpkit import PerturbedMasking
from nlpkit.fewshot import ResultsFile, plot_scores
from nlpkit.files import write_text
from nlpkit.perturbed_masking import arcs_svg, eisner, save_heat_map
from nlpkit.pictures import picture
from nlpkit.runs import effects, plot_effects
from nlpkit.tasks.entities import EntityRecognizer, plot_span_map, span_map
from nlpkit.tasks.linking import EntityLinker, Entry, KnowledgeBase, plot_candidates
from nlpkit.text_files import read_records

HERE = Path(__file__).parent
RESULTS = HERE.parent.parent / "benchmarks" / "results"
WORDS = {"老师": "teacher", "给": "to", "学生": "pupils", "讲": "tells", "历史": "history", "故事": "stories"}
#: Sentences with what they name, and one that was not learnt from.
NAMED = {
    "中国政府在北京开会": "中国 LOC, 中国政府 ORG, 北京 LOC",
    "上海市政府的张明来了": "上海市 LOC, 上海市政府 ORG, 张明 PER",
    "李红在南京大学读书": "李红 PER, 南京 LOC, 南京大学 ORG",
    "王强从天津去了法国": "王强 PER, 天津 LOC, 法国 LOC",
    "武汉大学的陈静教授": "武汉 LOC, 武汉大学 ORG, 陈静 PER",
    "广州图书馆请赵磊讲课": "广州 LOC, 广州图书馆 ORG, 赵磊 PER",
    "日本政府和美国政府会谈": "日本 LOC, 日本政府 ORG, 美国 LOC, 美国政府 ORG",
    "刘洋在成都博物馆工作": "刘洋 PER, 成都 LOC, 成都博物馆 ORG",
    "我们明天去深圳": "深圳 LOC",
    "他们喜欢看电影": "",
}
UNNAMED = "孙丽在杭州大学教书"
#: Entities that share names, sentences with the one that is meant, if any, and some that were not learnt from.
ENTRIES = [
    Entry("fruit", "苹果", description="水果，可以吃，味道甜"),
    Entry("computers", "苹果公司", ("苹果",), "生产手机和电脑的公司"),
    Entry("grain", "小米", description="粮食，可以煮粥"),
    Entry("phones", "小米公司", ("小米",), "生产手机和家电的公司"),
    Entry("flower", "杜鹃花", ("杜鹃",), "春天开的花"),
    Entry("bird", "杜鹃鸟", ("杜鹃",), "会叫的鸟"),
]
MEANT = {
    "fruit": ["苹果很甜", "买两斤苹果", "孩子爱吃苹果"],
    "computers": ["苹果的新手机", "苹果的股票涨了", "用苹果电脑办公"],
    "grain": ["早饭喝小米粥", "农民种小米", "小米的营养很好"],
    "phones": ["小米发布了新手机", "小米的股价下跌", "买了一台小米电视"],
    "flower": ["山上的杜鹃开了", "院子里种着杜鹃", "红色的杜鹃真美"],
    "bird": ["听见杜鹃在叫", "杜鹃飞走了", "树上有一只杜鹃"],
    None: ["她的小名叫小米", "我的同学杜鹃来了", "孩子叫苹果，今年三岁", "邻居小米请我们吃饭"],
}
ASKED = ["妈妈洗了一盘苹果", "苹果发布会上有新电脑", "小米今年卖出很多手机", "路边的杜鹃都开了", "我的朋友叫小米"]


def main() -> None:
    """Draw all of them."""
    draw_spans()
    draw_candidates()
    draw_parse()
    draw_rare_classes()
    draw_few_shot()
    draw_ladder_memory()


def draw_parse() -> None:
    """The impact of words on one another, and the tree that it gives."""
    words = list(WORDS)
    masking = PerturbedMasking.from_pretrained("wobert-mini-zh", show_progress=False)
    (impact,) = masking.impact([words])
    save_heat_map(impact, words, HERE / "impact.svg")
    write_text(HERE / "parse.svg", arcs_svg(words, eisner(impact), tags=list(WORDS.values())))


def draw_spans() -> None:
    """The score of every span of a sentence."""
    torch.manual_seed(0)
    types = ["LOC", "ORG", "PER"]
    recognizer = EntityRecognizer.from_pretrained("wobert-mini-zh", types=types, units="characters")
    rows = []
    for text, names in NAMED.items():
        pairs = [named.split() for named in names.split(", ") if named]
        spans = [(text.index(name), text.index(name) + len(name), kind) for name, kind in pairs]
        rows.append({"text": text, "spans": spans})
    learn(recognizer.model, recognizer.collator()(rows), steps=40, rate=1e-3)
    plot_span_map(span_map(recognizer, UNNAMED), HERE / "spans.svg")


def draw_candidates() -> None:
    """Which entities names in some sentences may stand for, and which one is chosen."""
    torch.manual_seed(0)
    linker = EntityLinker.from_pretrained("wobert-mini-zh", KnowledgeBase(ENTRIES))
    rows = []
    for entity, texts in MEANT.items():
        for text in texts:
            start = max(text.find(name) for name in ("苹果", "小米", "杜鹃"))
            rows.append({"text": text, "links": [[start, start + 2, entity]]})
    learn(linker.model, linker.collator()(linker.training_rows(rows, counted=False)), steps=12, rate=3e-4)
    plot_candidates(linker.scored(ASKED), linker.knowledge_base, HERE / "candidates.svg")


def learn(model: Any, batch: Any, steps: int, rate: float) -> None:
    """Train on one batch."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    for _ in range(steps):
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def draw_rare_classes() -> None:
    """What ways for rare classes change, of all rows and of all classes alike."""
    arms = ("base", "logit-adjusted=1", "posthoc-adjusted=0.5", "focal=2")
    rows = [row for _, row in read_records(RESULTS / "techniques" / "toutiao.jsonl") if row["arm"] in arms]
    scores = ("test balanced accuracy", "test accuracy")
    plot_effects({score: effects(rows, score) for score in scores}, HERE / "rare_classes.svg")


def draw_few_shot() -> None:
    """Of the tasks and methods of FewCLUE that are measured, those that a glance can take in."""
    tasks = ("eprstmt", "tnews", "iflytek")
    methods = {
        "tf-idf": "tf-idf",
        "frozen-means": "frozen means",
        "frozen-means@zh-en-minilm-l12-h384": "frozen means, e5",
        "zero-shot-calibrated": "zero-shot, calibrated",
        "fine-tuning": "fine-tuning",
        "pet": "PET",
    }
    found = ResultsFile(RESULTS / "fewclue" / "results.jsonl").read()
    shown = [
        replace(run, method=name)
        for task in tasks
        for method, name in methods.items()
        for run in found
        if (run.task, run.method) == (task, method)
    ]
    plot_scores(shown, HERE / "few_shot.svg", part="other_dev")


def draw_ladder_memory() -> None:
    """What ways of fine-tuning keep in memory, and how long a step takes."""
    steps = json.loads((RESULTS / "ladder_side_tuning.json").read_text("utf-8"))["steps"]
    ways = [step["way"] for step in steps]
    with picture(HERE / "ladder_memory.svg", ways) as figure:
        figure.set_size_inches(7.2, 2.4)
        memory, time = figure.subplots(1, 2, sharey=True)
        for axes, values, title in (
            (memory, [step["activation_bytes"] / 2**20 for step in steps], "activations kept, MiB"),
            (time, [step["step_seconds"] for step in steps], "a step, seconds on two cores"),
        ):
            bars = axes.barh(range(len(ways)), values, color=["C0" if "ladder" in way else "0.7" for way in ways])
            axes.bar_label(bars, fmt="%.3g", padding=3, fontsize=8)
            axes.set_title(title, fontsize=9, loc="left")
            axes.spines[["top", "right"]].set_visible(False)
            axes.margins(x=0.15)
        memory.set_yticks(range(len(ways)), ways, fontsize=9)
        memory.invert_yaxis()


if __name__ == "__main__":
    main()
