"""The page: a tab for each thing that the models do, laid out by gradio."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from html import escape
from typing import Any, ParamSpec, TypeVar

import gradio as gr

from nlpkit.demo.answers import DECODERS, Answers

P = ParamSpec("P")
R = TypeVar("R")

_FONTS = ["system-ui", "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", "sans-serif"]
_SENTENCE = "昨天晚上我们在图书馆学习了人工智能的基础知识。"
_REVIEW = "房间又大又干净，前台热情，下次还会住这里。"
_WORDS = "good=满意, 喜欢\nbad=失望, 生气"
_REPORT = "本报讯 昨天下午，市图书馆新馆正式开放。新馆共有六层，藏书八十万册，市民凭身份证即可免费借书。"


def theme() -> gr.themes.Base:
    """Gradio's own look in fonts that are on the reader's machine: nothing is fetched from elsewhere."""
    return gr.themes.Soft(font=_FONTS, font_mono=["ui-monospace", "Consolas", "monospace"])


def told(answer: Callable[P, R]) -> Callable[P, R]:
    """Errors that a reader can mend are shown in a sentence."""

    @wraps(answer)
    def asked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return answer(*args, **kwargs)
        except (ValueError, TypeError, ModuleNotFoundError) as error:
            raise gr.Error(str(error), print_exception=False) from error

    return asked


def build(answers: Answers) -> gr.Blocks:
    """The page, not yet served.

    Args:
        answers: of the models that it shows.
    """
    with gr.Blocks(title="nlpkit", analytics_enabled=False) as page:
        gr.Markdown("# nlpkit\nWhat a small Chinese model of words does. Nothing leaves this machine.")
        with gr.Tab("Words", id="words"):
            _words(answers)
        with gr.Tab("Gaps", id="gaps"):
            _gaps(answers)
        with gr.Tab("Labels", id="labels"):
            _labels(answers)
        with gr.Tab("Trees", id="trees"):
            _trees(answers)
        with gr.Tab("Entities", id="entities"):
            _entities(answers)
        with gr.Tab("Title", id="title"):
            _title(answers)
    return page


def _answers(name: str, asks: gr.Button, answer: Callable[..., Any], inputs: list[Any], outputs: list[Any]) -> None:
    """The button and the return key ask, as programs do by name; one at a time, since no two may read a model."""
    gr.on(
        [asks.click, inputs[0].submit],
        told(answer),
        inputs,
        outputs,
        api_name=name,
        concurrency_id="models",
        concurrency_limit=1,
    )


def _words(answers: Answers) -> None:
    gr.Markdown("A model of words reads fewer tokens than one of characters.")
    text = gr.Textbox(_SENTENCE, label="Text")
    asks = gr.Button("Cut", variant="primary")
    shown = gr.HTML()

    def answer(text: str) -> str:
        words, characters = answers.tokens(text)
        return f"{chips(words)}<p>{len(words)} words</p>{chips(characters)}<p>{len(characters)} characters</p>"

    _answers("tokenize", asks, answer, [text], [shown])


def _gaps(answers: Answers) -> None:
    gr.Markdown("What the model writes into gaps: `__` or `[MASK]`.")
    text = gr.Textbox("酒店的服务态度很__，下次还会再__。", label="Text with gaps")
    asks = gr.Button("Fill", variant="primary")
    found = gr.Dataframe(headers=["gap", "word", "probability"], interactive=False, label="Fillings")

    def answer(text: str) -> list[tuple[int, str, str]]:
        return [
            (gap, word, f"{share:.1%}")
            for gap, shares in enumerate(answers.fillings(text), start=1)
            for word, share in shares.items()
        ]

    _answers("fill", asks, answer, [text], [found])


def _labels(answers: Answers) -> None:
    gr.Markdown("Labels without training: which of your words would the model write into your pattern?")
    text = gr.Textbox(_REVIEW, label="Text")
    pattern = gr.Textbox("{text}总之，我很{mask}。", label="Pattern, with {text} and {mask}")
    words = gr.Textbox(_WORDS, label="Labels and their words, a label a line", lines=3)
    calibrated = gr.Checkbox(True, label="Take out what the model would write without any text")
    asks = gr.Button("Label", variant="primary")
    label = gr.Label(label="Labels")
    own = gr.Dataframe(headers=["label", "word", "probability"], interactive=False, label="Words in the gap")

    def answer(text: str, pattern: str, words: str, calibrated: bool) -> tuple[dict[str, float], list[Any]]:
        shares, rows = answers.label(text, pattern, words, calibrated)
        return shares, [(name, word, f"{100 * share:.3g}%") for name, word, share in rows]

    _answers("classify", asks, answer, [text, pattern, words, calibrated], [label, own])


def _trees(answers: Answers) -> None:
    gr.Markdown("Words and trees from how much words change when others are masked. No parser was trained.")
    text = gr.Textbox("老师给学生讲历史故事", label="A sentence")
    decoder = gr.Radio(list(DECODERS), value="eisner", label="Tree by")
    asks = gr.Button("Parse", variant="primary")
    shown = gr.HTML()

    def answer(text: str, decoder: str) -> str:
        words, page = answers.trees(text, decoder)
        return f"<p>Words, cut by the model alone:</p>{chips(words)}{framed(page, height=760)}"

    _answers("parse", asks, answer, [text, decoder], [shown])


def _entities(answers: Answers) -> None:
    gr.Markdown("Entities, nested ones too, by a model that was trained to find them.")
    text = gr.Textbox(_SENTENCE, label="Text")
    asks = gr.Button("Find", variant="primary")
    shown = gr.HTML()
    _answers("entities", asks, lambda text: framed(answers.entities(text), height=240), [text], [shown])


def _title(answers: Answers) -> None:
    gr.Markdown("A title, by a small model that was trained to write them.")
    text = gr.Textbox(_REPORT, label="Text", lines=4)
    asks = gr.Button("Write", variant="primary")
    title = gr.Textbox(label="Title", interactive=False)
    _answers("title", asks, answers.title, [text], [title])


def chips(words: Sequence[str]) -> str:
    """Words side by side, each in a box."""
    style = (
        "display:inline-block;margin:2px;padding:2px 8px;border:1px solid #c7d2fe;border-radius:6px;font-size:1.1em"
    )
    return "".join(f'<span style="{style}">{escape(word)}</span>' for word in words)


def framed(page: str, height: int) -> str:
    """A whole page within the page, with its own style and script."""
    return f'<iframe title="drawing" srcdoc="{escape(page)}" style="width:100%;height:{height}px;border:0"></iframe>'
