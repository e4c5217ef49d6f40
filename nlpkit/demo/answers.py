"""What the page answers: texts in, words, probabilities and drawings out. Models are loaded when they are asked."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from nlpkit.pet.clozes.commas import split_at_commas
from nlpkit.sources import find_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from nlpkit.perturbed_masking import PerturbedMasking
    from nlpkit.tasks.entities import EntityRecognizer
    from nlpkit.wobert import WoBertTokenizer

#: Characters of a text that the page takes: what a model of 512 tokens reads with room to spare, answered at once.
LIMIT = 400
#: Words of a sentence whose impact on each other is drawn: its cost grows with their square.
WORDS = 40
#: Functions of ``nlpkit.perturbed_masking`` from impact to trees, two of heads and one of constituents.
DECODERS = ("eisner", "leaning_eisner", "leaning_cky")


class Answers:
    """Answers of one masked language model, and of two others where they are given.

    Args:
        model: a folder, the name of a shipped model, or a repository on the Hub.
        entities: of a model that ``nlpkit recipe entities`` trained; ``None`` where there is none.
        titles: of a model that writes titles; ``None`` likewise.

    Raises:
        FileNotFoundError: there is no such model.

    Example:
        >>> Answers("wobert-mini-zh").tokens("酒店的服务很好")
        (['酒店', '的', '服务', '很', '好'], ['酒', '店', '的', '服', '务', '很', '好'])
    """

    def __init__(self, model: str, entities: str | None = None, titles: str | None = None) -> None:
        self._folder = find_model(model)
        self._entities = None if entities is None else find_model(entities)
        self._titles = None if titles is None else find_model(titles)

    def load(self) -> None:
        """Load the masked language model now."""
        self.tokens("好")
        _ = self.model

    @cached_property
    def tokenizer(self) -> WoBertTokenizer:
        """The model's."""
        from transformers import AutoTokenizer

        found: Any = AutoTokenizer.from_pretrained(self._folder)
        return found

    @cached_property
    def model(self) -> PreTrainedModel:
        """The masked language model, in fp32."""
        from nlpkit.pet.classifiers.pet_classifier import load_masked_lm

        return load_masked_lm(self._folder).eval()

    @cached_property
    def masking(self) -> PerturbedMasking:
        """The model as a parser."""
        from nlpkit.perturbed_masking import PerturbedMasking

        return PerturbedMasking(self.model, self.tokenizer, units="characters", show_progress=False)

    @cached_property
    def recognizer(self) -> EntityRecognizer:
        """The model of entities.

        Raises:
            ValueError: none is given.
        """
        from nlpkit.tasks.entities import EntityRecognizer

        if self._entities is None:
            raise ValueError(
                "No model of entities comes along. nlpkit recipe entities trains one: nlpkit demo --entities FOLDER"
            )
        return EntityRecognizer.from_pretrained(self._entities)

    @cached_property
    def writer(self) -> tuple[Any, Any]:
        """The model of titles, and its tokenizer.

        Raises:
            ValueError: none is given.
        """
        from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

        if self._titles is None:
            raise ValueError(
                "No model of titles comes along. nlpkit recipe title_generation trains one: "
                "nlpkit demo --titles FOLDER"
            )
        has_encoder = AutoConfig.from_pretrained(self._titles).is_encoder_decoder
        kind = AutoModelForSeq2SeqLM if has_encoder else AutoModelForCausalLM
        model = kind.from_pretrained(self._titles, dtype="float32").eval()
        return model, AutoTokenizer.from_pretrained(self._titles)

    def tokens(self, text: str) -> tuple[list[str], list[str]]:
        """The words that the model reads, and the characters that a character model would."""
        words = self.tokenizer.tokenize(checked(text))
        characters = [one for word in words for one in ([word] if word.isascii() else word.removeprefix("##"))]
        return words, characters

    def fillings(self, text: str, top_k: int = 8) -> list[dict[str, float]]:
        """The likeliest words in each gap of a text, with their probabilities."""
        from transformers import pipeline

        from nlpkit.probes.gaps import fill_gaps

        mask = self.tokenizer.mask_token
        text = checked(text).replace("＿＿", mask).replace("__", mask)
        if mask not in text:
            raise ValueError(f"Put {mask} or __ where a word is to be found.")
        fill = pipeline("fill-mask", model=self.model, tokenizer=self.tokenizer, top_k=top_k)
        return [dict(gap) for gap in fill_gaps(text, fill)]

    def label(
        self, text: str, pattern: str, words: str, calibrated: bool = True
    ) -> tuple[dict[str, float], list[tuple[str, str, float]]]:
        """The probability of each label, and that of each label's words in the gap.

        Args:
            text: to be labelled.
            pattern: with ``{text}`` and ``{mask}``.
            words: a line for each label: ``name=word, word``.
            calibrated: take out what the model would write without any text.
        """
        from nlpkit.pet import PetClassifier

        text = checked(text)
        classifier = PetClassifier(self.model, self.tokenizer, checked(pattern), read_words(words))
        if calibrated:
            classifier.calibrate([""])
        shares = classifier.predict_proba([text])[0].tolist()
        own = classifier.word_probabilities(text)
        rows = [(label, word, share) for label, found in own.items() for word, share in found.items()]
        return dict(zip([str(name) for name in classifier.classes_], shares, strict=True)), rows

    def trees(self, text: str, decoder: str = "eisner") -> tuple[list[str], str]:
        """The words of a text as impact cuts them, and a page with the tree over the tokenizer's words.

        Args:
            text: to be parsed.
            decoder: one of ``DECODERS``.
        """
        import nlpkit.perturbed_masking as pm
        from nlpkit.perturbed_masking.pages.page import page_lines

        if decoder not in DECODERS:
            raise ValueError(f"A tree is drawn by one of {', '.join(DECODERS)}.")
        text = checked(text)
        cut = self.masking.segment([text])[0]
        words = self.tokenizer.tokenize(text)
        if not 1 < len(words) <= WORDS:
            raise ValueError(f"A tree is drawn over 2 to {WORDS} words; this text has {len(words)}.")
        (impact,) = pm.PerturbedMasking(self.model, self.tokenizer, show_progress=False).impact([words])
        parse = pm.Parse(pm.Sentence.of(words), impact, getattr(pm, decoder)(impact))
        return cut, "".join(page_lines([parse], f"A tree by {decoder}"))

    def entities(self, text: str) -> str:
        """A page with the entities of a text in boxes."""
        from nlpkit.tasks.entities.page import entity_page_lines

        text = checked(text)
        return "".join(entity_page_lines([text], self.recognizer.predict([text])))

    def title(self, text: str) -> str:
        """A title for a text."""
        from nlpkit.seq2seq import generate_texts

        model, tokenizer = self.writer
        (found,) = generate_texts(model, tokenizer, [checked(text)], max_new_tokens=32, num_beams=3)
        return found


def checked(text: str | None) -> str:
    """A text that is neither blank nor too long.

    Raises:
        ValueError: it is.

    Example:
        >>> checked("天" * 500)
        Traceback (most recent call last):
        ValueError: This text has 500 characters; the page takes 400. For more, call nlpkit from the command line.
    """
    if text is None or not text.strip():
        raise ValueError("Write a text first.")
    if len(text) > LIMIT:
        raise ValueError(
            f"This text has {len(text)} characters; the page takes {LIMIT}. "
            "For more, call nlpkit from the command line."
        )
    return text.strip()


def read_words(lines: str | None) -> dict[str, list[str]]:
    """The words of each label.

    Raises:
        ValueError: a line is none, a label stands twice, or there are not two.

    Example:
        >>> read_words("good=满意，喜欢、不错\\nbad=失望")
        {'good': ['满意', '喜欢', '不错'], 'bad': ['失望']}
    """
    found: dict[str, list[str]] = {}
    for line in filter(None, (line.strip() for line in (lines or "").splitlines())):
        label, sign, words = line.partition("=")
        own = [word for word in split_at_commas(words) if word]
        if not sign or not label.strip() or not own:
            raise ValueError(f"Write each label as name=word or name=word, word; {line!r} is not of that form.")
        if label.strip() in found:
            raise ValueError(f"The label {label.strip()!r} stands there twice.")
        found[label.strip()] = own
    if len(found) < 2:
        raise ValueError("Give two labels or more, each on a line of its own.")
    return found
