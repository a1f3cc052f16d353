"""Offline agents, which answer by quoting sentences from the conversation.

When asked to pick a response, they return the number of the one that is most similar to the others;
`majority` returns the first one with the most frequent answer.

They allow trials, tests and demonstrations without a key or a network. Each ranks the sentences of
the material by a different classical method; `consensus` prefers sentences that several references
quote. They are deterministic, and are never presented as language models.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from threading import Lock
from typing import Any, NamedTuple

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import LangSmithParams
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
from moa_graph.prompting.exact_answers import read_exact_answers
from moa_graph.prompting.layout import (
    ANALYSIS_HEADING,
    NAME_THE_BEST,
    RANK_ALL,
    REFERENCES_HEADING,
)

MAX_QUOTED_SENTENCES = 3  # sentences in an answer, and their minimum share of the material
FEEDBACK_SENTENCES = 5  # sentences of a centroid
MAX_CANDIDATES = 300  # sentences that the quadratic methods rank
MAX_VOTED_SENTENCES = 2000  # best sentences that are searched for in the references
MIN_CACHED_CHARS = 20_000  # length of a text whose sentences are cached for all agents
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
    """The question, material and references of a conversation."""

    question: str
    sentences: list[str]
    references: list[str]


class OfflineModel(InProcessModel):
    """An extractive agent with the interface of a chat model."""

    style: str
    """Method that ranks sentences: a key of `STYLES`."""
    max_tokens: int | None = None
    """Maximum number of quoted words."""

    @property
    def _llm_type(self) -> str:
        return "offline-extractive"

    def _get_ls_params(self, stop: list[str] | None = None, **options: Any) -> LangSmithParams:
        """Name the agent in traces."""
        parameters = super()._get_ls_params(stop=stop, **options)
        return {**parameters, "ls_provider": "offline", "ls_model_name": self.style}

    def _build_message(self, messages: Sequence[BaseMessage]) -> AIMessage:
        words, usage, metadata = self._build_answer(messages)
        return AIMessage("".join(words), usage_metadata=usage, response_metadata=metadata)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
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
        """Return the words of the answer, and the tokens (here: words) read and written."""
        if responses := find_candidate_responses(messages):
            ranks_all = messages[-1].text.endswith(RANK_ALL)
            if self.style == "majority" and not ranks_all:
                ranking = [find_majority(responses)]
            else:
                ranking = rank_by_similarity(responses)
            positions = ranking if ranks_all else ranking[:1]
            return self._with_usage([" > ".join(map(str, positions))], messages)
        reading = parse_conversation(messages)
        if reading.references and (self.style == "consensus" or not reading.sentences):
            quoted = (each for text in reading.references for each in split_sentences(text))
            reading = reading._replace(sentences=list(dict.fromkeys(quoted)))
        tokens = re.findall(r"\S+\s*", self._quote_sentences(reading) or self._no_model_notice())
        is_truncated = bool(self.max_tokens and len(tokens) > self.max_tokens)
        return self._with_usage(tokens[: self.max_tokens], messages, cut=is_truncated)

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
        """Quote the best sentences in their original order."""
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
        candidates = best if self.style == "lead" else matching or best
        quotes = [reading.sentences[index] for index in sorted(candidates)]
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
    """Split a conversation into question, material and references."""
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
    """Return the responses to pick from; empty if an answer is requested."""
    if not messages or not messages[-1].text.endswith((NAME_THE_BEST, RANK_ALL)):
        return []
    return _parse_enclosed_references(messages[-1].text) or _parse_numbered_references(
        messages[0].text
    )


def find_majority(texts: Sequence[str]) -> int:
    """Return the number, from 1, of the first text with the most frequent answer.

    Answers are compared as in `moa_graph.agreement`. A text without an answer has no vote. If no
    text has an answer, it is the text that is most similar to all others.
    """
    keys = [answer.key if answer else None for answer in read_exact_answers(texts)]
    votes = Counter(key for key in keys if key is not None)
    if not votes:
        return rank_by_similarity(texts)[0]
    return 1 + keys.index(votes.most_common(1)[0][0])


def rank_by_similarity(texts: Sequence[str]) -> list[int]:
    """Return the numbers of texts, from 1, ordered by similarity to all others.

    A text's similarity to the sum of all vectors equals the sum of its similarities: this avoids
    comparing pairs.
    """
    units = list(map(_normalize_vector, _tfidf_vectors(texts)))
    total = _sum_vectors(units)
    # Rounding, so that the last bits do not order equal texts.
    similarities = [
        round(_dot_product(unit, total) - _dot_product(unit, unit), 9) for unit in units
    ]
    return sorted(range(1, len(texts) + 1), key=lambda number: -similarities[number - 1])


def _split_user_message(text: str) -> tuple[str, list[str]]:
    """Split a user message into the question and the sentences of the material."""
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
    """Parse the text of `template_references`.

    A numbered list inside a reference may be parsed as further references; no text is lost.
    """
    _, heading, rest = system.rpartition(f"\n\n{REFERENCES_HEADING}\n1. ")
    rest = rest.partition(f"\n\n{ANALYSIS_HEADING}\n")[0]  # not a response
    references, start = list[str](), 0
    while heading and start < len(rest):
        end = rest.find(mark := f"\n{len(references) + 2}. ", start)
        end = len(rest) if end < 0 else end
        references.append(rest[start:end])
        start = end + len(mark)
    return references


def _parse_enclosed_references(text: str) -> list[str]:
    """Parse the text of `enclose_references` at the end: a question may contain similar tags."""
    if not (keys := re.findall(r"<response-(\w+) 1>\n", text)):
        return []
    ends = f"\n</response-{keys[-1]} "
    closed, mark, _ = text.rpartition(ends)
    return re.findall(rf"<response-{keys[-1]} \d+>\n(.*?){ends}", closed + mark, re.DOTALL)


def split_sentences(text: str) -> list[str]:
    """Split plain text or Markdown into sentences, in any script that marks their ends.

    The result for a long text is cached, because all agents of a mixture read the same file.
    """
    if len(text) < MIN_CACHED_CHARS:
        return list(_iterate_sentences(text))
    with _CACHE_LOCK:
        return list(_split_long_text(text))


@lru_cache(maxsize=2)
def _split_long_text(text: str) -> tuple[str, ...]:
    return tuple(_iterate_sentences(text))


def _split_pieces(pattern: str, text: str) -> Iterator[str]:
    """Split as `re.split` does, but in pieces: one long call would block all other threads."""
    start = 0
    for separator in re.finditer(pattern, text):
        yield text[start : separator.start()]
        start = separator.end()
    yield text[start:]


def _iterate_sentences(text: str) -> Iterator[str]:
    text = _remove_code_and_media(text)
    # No pattern continues on the next line: many empty lines would take quadratic time.
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
    """Remove code, comments and images; unclosed code extends to the end."""
    parts, position, unclosed = list[str](), 0, set[str]()
    for opening in re.finditer(rf"{CODE_FENCE}|<!--|!\[", text):
        kind = opening[0]
        if opening.start() < position or kind in unclosed:
            continue
        end = _find_end_of_marks(text, opening.end(), *_CLOSING_MARKS[kind])
        if end is None and kind != CODE_FENCE:
            unclosed.add(kind)  # no later one is closed either
            continue
        parts += [text[position : opening.start()], "\n\n"]
        position = len(text) if end is None else end
    return "".join([*parts, text[position:]])


def _find_end_of_marks(text: str, position: int, *marks: str) -> int | None:
    """Return the end of a sequence of marks; `None` if one is not closed."""
    for mark in marks:
        if (start := text.find(mark, position)) < 0:
            return None
        position = start + len(mark)
    return position


def _strip_link_markup(text: str) -> str:
    """Reduce links to their labels, and bold text to its words."""

    def visible_text(match: re.Match[str]) -> str:
        return match[1] or match[0].replace("**", "")

    closed, mark, rest = text.rpartition(")")  # no link starts after the last `)`
    linked = re.sub(r"\[([^]]++)\]\([^)]*+\)|\[[^]]*+|\*\*", visible_text, closed + mark)
    return linked + rest.replace("**", "")


@lru_cache(maxsize=50_000)
def stem_words(text: str) -> tuple[str, ...]:
    """Return words without inflection and without stop words; a CJK character is a word."""
    tokens = re.findall(WORD, text.lower())
    stems = (re.sub(r"(?<=\w{3})(?:ing|ed|es|s|e)$", "", w) for w in tokens if w not in STOPWORDS)
    return tuple(re.sub(r"y$", "i", stem) for stem in stems)


def rank_lead(reading: ParsedConversation) -> list[int]:
    """Rank the first sentences highest."""
    return list(range(len(reading.sentences)))


def rank_bm25(reading: ParsedConversation) -> list[int]:
    """Rank by Okapi BM25 for the question."""
    return _rank_by_votes(_score_bm25(reading), reading)


def rank_centroid(reading: ParsedConversation) -> list[int]:
    """Rank by similarity to the TF-IDF centroid of the best BM25 sentences (relevance feedback)."""
    vectors = _tfidf_vectors(reading.sentences)
    best = rank_bm25(reading)[:FEEDBACK_SENTENCES]
    return _rank_by_votes(
        _cosine_similarities(vectors, _sum_vectors(vectors[index] for index in best)), reading
    )


def rank_textrank(reading: ParsedConversation) -> list[int]:
    """Rank by TextRank: PageRank over sentence similarity, restarting at the question."""
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
    """Return PageRank after 20 steps over symmetric links; `start` is the restart distribution."""
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
    """Rank by maximal marginal relevance: similar to the question, dissimilar to earlier quotes."""
    candidates = rank_bm25(reading)[:MAX_CANDIDATES]
    *vectors, question_vector = _tfidf_vectors([*reading.sentences, reading.question])
    vectors = [vectors[index] for index in candidates]
    near, repeated = _cosine_similarities(vectors, question_vector), [0.0] * len(candidates)
    remaining, ranking = list(range(len(candidates))), list[int]()
    while remaining and len(ranking) < MAX_QUOTED_SENTENCES:
        best = max(
            remaining, key=lambda candidate: 0.7 * near[candidate] - 0.3 * repeated[candidate]
        )
        remaining.remove(best)
        ranking.append(candidates[best])
        repeated = list(map(max, repeated, _cosine_similarities(vectors, vectors[best])))
    return ranking


def rank_ngram(reading: ParsedConversation) -> list[int]:
    """Rank by the share of the question's character trigrams, in any script."""

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
    """Rank by the number of references that quote a sentence, then by relevance to the question."""
    return rank_bm25(reading)


STYLES: dict[str, Callable[[ParsedConversation], list[int]]] = {
    "lead": rank_lead,
    "bm25": rank_bm25,
    "centroid": rank_centroid,
    "textrank": rank_textrank,
    "mmr": rank_mmr,
    "ngram": rank_ngram,
    "consensus": rank_consensus,
    "majority": rank_consensus,
}


def _rank_by_votes(scores: Sequence[float], reading: ParsedConversation) -> list[int]:
    """Return indices, best first; each reference that quotes a sentence is a vote for it."""
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
    """Return the inverse document frequency of each word."""
    frequency = Counter(word for document in documents for word in set(document))
    return {word: math.log(1 + len(documents) / count) for word, count in frequency.items()}


def _cosine_similarities(vectors: Sequence[Vector], other: Vector) -> list[float]:
    """Return the cosine similarity of each pair."""
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
