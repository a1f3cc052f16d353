"""Agents without a language model: they answer by quoting the text that they are given.

Asked to pick a response, they name the one that is most like the others.

They let everything be tried, tested and shown without a key or a network. Each ranks the
sentences of the material in the conversation by another classical method; `consensus` favours
what several references agree on. They are deterministic, and never pass for a language model.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from threading import Lock
from typing import Any, NamedTuple

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
)
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk

from moa_graph.models.in_process import InProcessModel
from moa_graph.prompting.attachments import split_attachments
from moa_graph.prompting.layout import NAME_THE_BEST, REFERENCES_HEADING

MAX_QUOTED_SENTENCES = (
    3  # sentences in an answer, and the least part of the material that they may be
)
FEEDBACK_SENTENCES = 5  # sentences that make up a centroid
MAX_CANDIDATES = 300  # sentences that the quadratic methods look at
MAX_VOTED_SENTENCES = 2000  # sentences, the best ones, that are looked for in the references
MIN_CACHED_CHARS = 20_000  # a text from which on it is split once for all agents
WORD = r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_]+"  # or a single Chinese or Japanese character
NOTICE = "No language model is configured."
STOPWORDS = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be by can did do does for from had has have how i if in is it its me "
        "my of on or our so that the their them there these they this to was we were what when "
        "where which who why will with you your",
    )
)
Vector = dict[str, float]

_CACHE_LOCK = Lock()

CODE_FENCE = "```"
_CLOSING_MARKS = {CODE_FENCE: [CODE_FENCE], "<!--": ["-->"], "![": ["](", ")"]}


class ParsedConversation(NamedTuple):
    """What an agent finds in the conversation."""

    question: str
    sentences: list[str]
    references: list[str]


class OfflineModel(InProcessModel):
    """An extractive agent behind the interface of a chat model."""

    style: str
    """How it ranks sentences: a key of `STYLES`."""
    max_tokens: int | None = None
    """The most words that it quotes."""

    @property
    def _llm_type(self) -> str:
        return "offline-extractive"

    def _build_message(self, messages: Sequence[BaseMessage]) -> AIMessage:
        words, usage, metadata = self._build_answer(messages)
        return AIMessage("".join(words), usage_metadata=usage, response_metadata=metadata)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002
        run_manager: CallbackManagerForLLMRun | None = None,
        **_: Any,
    ) -> Iterator[ChatGenerationChunk]:
        words, usage, metadata = self._build_answer(messages)
        chunks = [AIMessageChunk(content=word) for word in words]
        end = AIMessageChunk(
            content="", usage_metadata=usage, response_metadata=metadata, chunk_position="last"
        )
        for message in [*chunks, end]:
            chunk = ChatGenerationChunk(message=message)
            if run_manager:
                run_manager.on_llm_new_token(message.text, chunk=chunk)
            yield chunk

    def _build_answer(
        self, messages: Sequence[BaseMessage]
    ) -> tuple[list[str], UsageMetadata, dict[str, Any]]:
        """Answer word by word, with the tokens (here: words) read and written."""
        if responses := find_candidate_responses(messages):
            return self._with_usage([str(find_most_similar(responses))], messages)
        reading = parse_conversation(messages)
        if reading.references and (self.style == "consensus" or not reading.sentences):
            quoted = (each for text in reading.references for each in split_sentences(text))
            reading = reading._replace(sentences=list(dict.fromkeys(quoted)))
        tokens = re.findall(r"\S+\s*", self._quote_sentences(reading) or self._no_model_notice())
        cut = bool(self.max_tokens and len(tokens) > self.max_tokens)
        return self._with_usage(tokens[: self.max_tokens], messages, cut=cut)

    def _with_usage(
        self, tokens: list[str], messages: Sequence[BaseMessage], *, cut: bool = False
    ) -> tuple[list[str], UsageMetadata, dict[str, Any]]:
        input_tokens = sum(len(message.text.split()) for message in messages)
        usage = UsageMetadata(
            input_tokens=input_tokens,
            output_tokens=len(tokens),
            total_tokens=input_tokens + len(tokens),
        )
        reason = "length" if cut else "stop"
        return tokens, usage, {"finish_reason": reason, "model_name": f"offline:{self.style}"}

    def _quote_sentences(self, reading: ParsedConversation) -> str:
        """Quote the best sentences in the order in which they stand."""
        if not reading.sentences:
            return ""
        max_sentences = min(
            MAX_QUOTED_SENTENCES, math.ceil(len(reading.sentences) / MAX_QUOTED_SENTENCES)
        )
        best = STYLES[self.style](reading)[:max_sentences]
        question_words = set(stem_words(reading.question))
        matching = [
            index for index in best if question_words & set(stem_words(reading.sentences[index]))
        ]
        chosen = best if self.style == "lead" else matching or best
        quotes = [reading.sentences[index] for index in sorted(chosen)]
        new = [each for each in quotes if not any(each in o and each != o for o in quotes)]
        return " ".join(new)

    def _no_model_notice(self) -> str:
        return (
            f"{NOTICE} This is the offline agent {self.style!r} of moa_graph, which can only quote "
            "sentences from text that it is given. Attach a file (moa ask --file notes.md ...) or "
            "paste text beside the question; for answers by language models set OPENAI_API_KEY "
            "or TOGETHER_API_KEY."
        )


def parse_conversation(messages: Sequence[BaseMessage]) -> ParsedConversation:
    """Tell the question, the material and the references of a conversation apart."""
    material: list[str] = []
    question = ""
    for message in messages:
        if isinstance(message, HumanMessage):
            question, new_material = _split_user_message(message.text)
            material += new_material
    system = messages[0].text if messages and isinstance(messages[0], SystemMessage) else ""
    references = [
        text for text in _parse_numbered_references(system) if not text.startswith(NOTICE)
    ]
    return ParsedConversation(question, list(dict.fromkeys(material)), references)


def find_candidate_responses(messages: Sequence[BaseMessage]) -> list[str]:
    """Find the responses of which one is to be picked; none if an answer is wanted."""
    if not messages or not messages[-1].text.endswith(NAME_THE_BEST):
        return []
    return _parse_enclosed_references(messages[-1].text) or _parse_numbered_references(
        messages[0].text
    )


def find_most_similar(texts: Sequence[str]) -> int:
    """Number, from 1, of the text that is most like all others.

    A text's likeness to the sum of all is what its likeness to each makes: there may be many.
    """
    units = list(map(_normalize_vector, _tfidf_vectors(texts)))
    total = _sum_vectors(units)
    # Where two are as like, the last bits must not decide.
    similarities = [
        round(_dot_product(unit, total) - _dot_product(unit, unit), 9) for unit in units
    ]
    return 1 + similarities.index(max(similarities))


def _split_user_message(text: str) -> tuple[str, list[str]]:
    """Split what a person wrote into the question and the sentences of the material."""
    outside, attachments = split_attachments(text)
    own_sentences = split_sentences(outside)
    question_sentences = [
        sentence for sentence in own_sentences if sentence.endswith(("?", "\uff1f", "\u061f"))
    ]
    if not question_sentences:
        question_sentences = own_sentences if attachments else own_sentences[:1]
    used = set(question_sentences)
    material = [sentence for sentence in own_sentences if sentence not in used]
    material += [each for attached in attachments for each in split_sentences(attached)]
    return " ".join(question_sentences), [
        each for each in material if len(re.findall(WORD, each)) > 1
    ]


def _parse_numbered_references(system: str) -> list[str]:
    """Read back what `template_references` wrote.

    A numbered list inside a reference may be taken for further ones; no text is lost.
    """
    _, heading, rest = system.rpartition(f"\n\n{REFERENCES_HEADING}\n1. ")
    references, start = list[str](), 0
    while heading and start < len(rest):
        end = rest.find(mark := f"\n{len(references) + 2}. ", start)
        end = len(rest) if end < 0 else end
        references.append(rest[start:end])
        start = end + len(mark)
    return references


def _parse_enclosed_references(text: str) -> list[str]:
    """Read back what `enclose_references` wrote, at the end: a question may hold the like."""
    if not (keys := re.findall(r"<response-(\w+) 1>\n", text)):
        return []
    ends = f"\n</response-{keys[-1]} "
    closed, mark, _ = text.rpartition(ends)
    return re.findall(rf"<response-{keys[-1]} \d+>\n(.*?){ends}", closed + mark, re.DOTALL)


def split_sentences(text: str) -> list[str]:
    """Split plain text or Markdown into sentences, in any script that marks their ends.

    All agents of a mixture read the same file: a long text is split once for them.
    """
    if len(text) < MIN_CACHED_CHARS:
        return list(_iterate_sentences(text))
    with _CACHE_LOCK:
        return list(_split_long_text(text))


@lru_cache(maxsize=2)
def _split_long_text(text: str) -> tuple[str, ...]:
    return tuple(_iterate_sentences(text))


def _split_pieces(pattern: str, text: str) -> Iterator[str]:
    """Split as `re.split` does, but piece by piece: one long call would stop all other threads."""
    start = 0
    for separator in re.finditer(pattern, text):
        yield text[start : separator.start()]
        start = separator.end()
    yield text[start:]


def _iterate_sentences(text: str) -> Iterator[str]:
    text = _remove_code_and_media(text)
    # No pattern goes on into the next line: each empty line would go through those behind it.
    text = re.sub(r"^[^\S\n]*+#++\s.*$", "\n\n", text, flags=re.MULTILINE)
    text = re.sub(r"^[^\S\n]*+(?:[-*+>]|\d++[.)])\s+", "\n\n", text, flags=re.MULTILINE)
    table = r"^[^\S\n]*+(?:\|.*|[-=|: ]++(?<=[-=|: ]{3}))$"
    text = re.sub(table, "\n\n", text, flags=re.MULTILINE)
    end = (
        r"(?<!\bal\.)(?<!\be\.g\.)(?<!\bi\.e\.)(?<=[.!?\u061f])[\"')\]*]*+\s++(?=[^\sa-z])"
        r"|(?<=[\u3002\uff01\uff1f])"
    )
    blocks = _split_pieces(r"\n\s*\n", text)
    candidates = (each for block in blocks for each in _split_pieces(end, block))
    plain = (" ".join(_strip_link_markup(each).split()) for each in candidates)
    return (each for each in plain if re.search(WORD, each))


def _remove_code_and_media(text: str) -> str:
    """Cut out code, comments and pictures; code that is not closed goes on to the end."""
    parts, position, unclosed = list[str](), 0, set[str]()
    for opened in re.finditer(rf"{CODE_FENCE}|<!--|!\[", text):
        kind = opened[0]
        if opened.start() < position or kind in unclosed:
            continue
        end = _find_end_of_marks(text, opened.end(), *_CLOSING_MARKS[kind])
        if end is None and kind != CODE_FENCE:
            unclosed.add(kind)  # nor will another one be
            continue
        parts += [text[position : opened.start()], "\n\n"]
        position = len(text) if end is None else end
    return "".join([*parts, text[position:]])


def _find_end_of_marks(text: str, position: int, *marks: str) -> int | None:
    """Find where marks end that come one after the other; `None` if they do not."""
    for mark in marks:
        if (start := text.find(mark, position)) < 0:
            return None
        position = start + len(mark)
    return position


def _strip_link_markup(text: str) -> str:
    """Leave of links their labels, and of what is bold the words."""

    def visible_text(match: re.Match[str]) -> str:
        return match[1] or match[0].replace("**", "")

    closed, mark, rest = text.rpartition(")")  # behind the last end no link is searched for
    linked = re.sub(r"\[([^]]++)\]\([^)]*+\)|\[[^]]*+|\*\*", visible_text, closed + mark)
    return linked + rest.replace("**", "")


@lru_cache(maxsize=50_000)
def stem_words(text: str) -> tuple[str, ...]:
    """Words without inflection and without those that say nothing; a CJK character is a word."""
    tokens = re.findall(WORD, text.lower())
    stems = (re.sub(r"(?<=\w{3})(?:ing|ed|es|s|e)$", "", w) for w in tokens if w not in STOPWORDS)
    return tuple(re.sub(r"y$", "i", stem) for stem in stems)


def rank_lead(reading: ParsedConversation) -> list[int]:
    """Leading sentences."""
    return list(range(len(reading.sentences)))


def rank_bm25(reading: ParsedConversation) -> list[int]:
    """Okapi BM25 against the question."""
    return _rank_by_votes(_score_bm25(reading), reading)


def rank_centroid(reading: ParsedConversation) -> list[int]:
    """Nearness to the TF-IDF centroid of the sentences that BM25 finds (relevance feedback)."""
    vectors = _tfidf_vectors(reading.sentences)
    best = rank_bm25(reading)[:FEEDBACK_SENTENCES]
    return _rank_by_votes(
        _cosine_similarities(vectors, _sum_vectors(vectors[index] for index in best)), reading
    )


def rank_textrank(reading: ParsedConversation) -> list[int]:
    """TextRank: PageRank over the similarity of sentences, at home in those on the question."""
    candidates = sorted(rank_bm25(reading)[:MAX_CANDIDATES])
    vectors = _tfidf_vectors([reading.sentences[index] for index in candidates])
    links = [_cosine_similarities(vectors, vector) for vector in vectors]
    for position, row in enumerate(links):
        row[position] = 0.0
    question_scores = [score + 0.01 for score in _score_bm25(reading)]
    total = sum(question_scores[index] for index in candidates)
    scores = _page_rank(links, [question_scores[index] / total for index in candidates])
    full = [0.0] * len(reading.sentences)
    for index, score in zip(candidates, scores, strict=True):
        full[index] = score
    return _rank_by_votes(full, reading)


def _page_rank(links: Sequence[Sequence[float]], start: Sequence[float]) -> Sequence[float]:
    """PageRank by 20 steps over symmetric links; `start` is where the surfer jumps to."""
    sums = [sum(row) or 1.0 for row in links]
    scores = start
    for _ in range(20):
        flow = [score / weight for score, weight in zip(scores, sums, strict=True)]
        scores = [
            0.15 * home + 0.85 * sum(f * row[j] for f, row in zip(flow, links, strict=True))
            for j, home in enumerate(start)
        ]
    return scores


def rank_mmr(reading: ParsedConversation) -> list[int]:
    """Maximal marginal relevance: near the question, far from what is already quoted."""
    candidates = rank_bm25(reading)[:MAX_CANDIDATES]
    *vectors, question_vector = _tfidf_vectors([*reading.sentences, reading.question])
    vectors = [vectors[index] for index in candidates]
    near, repeated = _cosine_similarities(vectors, question_vector), [0.0] * len(candidates)
    left, chosen = list(range(len(candidates))), list[int]()
    while left and len(chosen) < MAX_QUOTED_SENTENCES:
        best = max(left, key=lambda candidate: 0.7 * near[candidate] - 0.3 * repeated[candidate])
        left.remove(best)
        chosen.append(candidates[best])
        repeated = list(map(max, repeated, _cosine_similarities(vectors, vectors[best])))
    return chosen


def rank_ngram(reading: ParsedConversation) -> list[int]:
    """Share of the question's character trigrams, in any script."""

    def trigrams(text: str) -> set[str]:
        text = f" {' '.join(stem_words(text)) or text.lower()} "
        return {text[i : i + 3] for i in range(len(text) - 2)}

    question_trigrams = trigrams(reading.question)
    sentence_trigrams = [trigrams(sentence) for sentence in reading.sentences]
    return _rank_by_votes(
        [len(question_trigrams & each) / math.sqrt(len(each) + 1) for each in sentence_trigrams],
        reading,
    )


def rank_consensus(reading: ParsedConversation) -> list[int]:
    """What most references quote and is near to the question."""
    return rank_bm25(reading)


STYLES: dict[str, Callable[[ParsedConversation], list[int]]] = {
    "lead": rank_lead,
    "bm25": rank_bm25,
    "centroid": rank_centroid,
    "textrank": rank_textrank,
    "mmr": rank_mmr,
    "ngram": rank_ngram,
    "consensus": rank_consensus,
}


def _rank_by_votes(scores: Sequence[float], reading: ParsedConversation) -> list[int]:
    """Indices, best first; each reference that quotes a sentence counts for it."""
    top = max(scores, default=0.0) or 1.0
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    total = [score / top + 0.1 for score in scores]
    for index in order[:MAX_VOTED_SENTENCES]:
        total[index] *= 1 + sum(reading.sentences[index] in text for text in reading.references)
    return sorted(range(len(total)), key=lambda index: -total[index])


def _score_bm25(reading: ParsedConversation) -> list[float]:
    documents = [stem_words(sentence) for sentence in reading.sentences]
    average = sum(map(len, documents)) / len(documents) or 1.0
    rarity = _inverse_document_frequencies(documents)
    question_words = set(stem_words(reading.question))

    def score(document: Sequence[str]) -> float:
        counts = Counter(document)
        length = 1.2 * (0.25 + 0.75 * len(document) / average)
        return sum(
            rarity[w] * counts[w] * 2.2 / (counts[w] + length)
            for w in question_words & counts.keys()
        )

    return [score(document) for document in documents]


def _tfidf_vectors(texts: Sequence[str]) -> list[dict[str, float]]:
    documents = [stem_words(text) for text in texts]
    rarity = _inverse_document_frequencies(documents)
    return [{w: n * rarity[w] for w, n in Counter(d).items()} for d in documents]


def _inverse_document_frequencies(documents: Sequence[Sequence[str]]) -> dict[str, float]:
    """Inverse document frequency."""
    frequency = Counter(word for document in documents for word in set(document))
    return {word: math.log(1 + len(documents) / count) for word, count in frequency.items()}


def _cosine_similarities(vectors: Sequence[Vector], other: Vector) -> list[float]:
    """Give the likeness of each to another one."""
    size = _euclidean_norm(other)
    sizes = [_euclidean_norm(vector) * size for vector in vectors]
    return [
        _dot_product(each, other) / n if n else 0.0 for each, n in zip(vectors, sizes, strict=True)
    ]


def _dot_product(a: Vector, b: Vector) -> float:
    return sum(weight * b[word] for word, weight in a.items() if word in b)


def _normalize_vector(vector: Vector) -> Vector:
    norm = _euclidean_norm(vector)
    return {word: weight / norm for word, weight in vector.items()}


def _euclidean_norm(vector: Vector) -> float:
    return math.hypot(*vector.values())


def _sum_vectors(vectors: Iterable[Vector]) -> Vector:
    total: Vector = defaultdict(float)
    for vector in vectors:
        for word, weight in vector.items():
            total[word] += weight
    return total
