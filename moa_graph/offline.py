"""Agents without a language model: they answer by quoting the text that they are given.

Asked to pick a response, they name the one that is most like the others.

They let everything be tried, tested and shown without a key or a network. Each ranks the
sentences of the material in the conversation by another classical method; `consensus` favours
what several references agree on. They are deterministic, and never pass for a language model.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
)
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from moa_graph.prompts import NAME_THE_BEST, REFERENCES_HEADING

QUOTED = 3  # sentences in an answer, and the least part of the material that they may be
FEEDBACK = 5  # sentences that make up a centroid
CANDIDATES = 300  # sentences that the quadratic methods look at
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
Vector = Counter[str] | dict[str, float]


class Reading(NamedTuple):
    """What an agent finds in the conversation."""

    question: str
    sentences: list[str]
    references: list[str]


class OfflineModel(BaseChatModel):
    """An extractive agent behind the interface of a chat model."""

    style: str
    """How it ranks sentences: a key of `STYLES`."""
    max_tokens: int | None = None
    """The most words that it quotes."""

    @property
    def _llm_type(self) -> str:
        return "offline-extractive"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **_: Any,
    ) -> ChatResult:
        words, usage, metadata = self._answer(messages)
        message = AIMessage("".join(words), usage_metadata=usage, response_metadata=metadata)
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002
        run_manager: CallbackManagerForLLMRun | None = None,
        **_: Any,
    ) -> Iterator[ChatGenerationChunk]:
        words, usage, metadata = self._answer(messages)
        chunks = [AIMessageChunk(content=word) for word in words]
        end = AIMessageChunk(
            content="", usage_metadata=usage, response_metadata=metadata, chunk_position="last"
        )
        for message in [*chunks, end]:
            chunk = ChatGenerationChunk(message=message)
            if run_manager:
                run_manager.on_llm_new_token(message.text, chunk=chunk)
            yield chunk

    def _answer(
        self, messages: Sequence[BaseMessage]
    ) -> tuple[list[str], UsageMetadata, dict[str, Any]]:
        """Answer word by word, with the tokens (here: words) read and written."""
        if responses := responses_to_judge(messages):
            return self._told([str(most_alike(responses))], messages)
        reading = read(messages)
        if reading.references and (self.style == "consensus" or not reading.sentences):
            quoted = (each for text in reading.references for each in sentences(text))
            reading = reading._replace(sentences=list(dict.fromkeys(quoted)))
        tokens = re.findall(r"\S+\s*", self._quote(reading) or self._notice())
        cut = bool(self.max_tokens and len(tokens) > self.max_tokens)
        return self._told(tokens[: self.max_tokens], messages, cut=cut)

    def _told(
        self, tokens: list[str], messages: Sequence[BaseMessage], *, cut: bool = False
    ) -> tuple[list[str], UsageMetadata, dict[str, Any]]:
        read_ones = sum(len(message.text.split()) for message in messages)
        usage = UsageMetadata(
            input_tokens=read_ones,
            output_tokens=len(tokens),
            total_tokens=read_ones + len(tokens),
        )
        reason = "length" if cut else "stop"
        return tokens, usage, {"finish_reason": reason, "model_name": f"offline:{self.style}"}

    def _quote(self, reading: Reading) -> str:
        """Quote the best sentences in the order in which they stand."""
        if not reading.sentences:
            return ""
        most = min(QUOTED, math.ceil(len(reading.sentences) / QUOTED))
        best = STYLES[self.style](reading)[:most]
        asked = set(words(reading.question))
        apt = [index for index in best if asked & set(words(reading.sentences[index]))]
        chosen = best if self.style == "lead" else apt or best
        quotes = [reading.sentences[index] for index in sorted(chosen)]
        new = [each for each in quotes if not any(each in o and each != o for o in quotes)]
        return " ".join(new)

    def _notice(self) -> str:
        return (
            f"{NOTICE} This is the offline agent {self.style!r} of moa_graph, which can only quote "
            "sentences from text that it is given. Attach a file (moa ask --file notes.md ...) or "
            "paste text beside the question; for answers by language models set OPENAI_API_KEY "
            "or TOGETHER_API_KEY."
        )


def read(messages: Sequence[BaseMessage]) -> Reading:
    """Tell the question, the material and the references of a conversation apart."""
    material: list[str] = []
    question = ""
    for message in messages:
        if isinstance(message, HumanMessage):
            question, found = _read_human(message.text)
            material += found
    system = messages[0].text if messages and isinstance(messages[0], SystemMessage) else ""
    references = [text for text in _references(system) if not text.startswith(NOTICE)]
    return Reading(question, list(dict.fromkeys(material)), references)


def responses_to_judge(messages: Sequence[BaseMessage]) -> list[str]:
    """Find the responses of which one is to be picked; none if an answer is wanted."""
    if not messages or not messages[-1].text.endswith(NAME_THE_BEST):
        return []
    tagged = r"<response-(\w+ \d+)>\n(.*?)\n</response-\1>"
    enclosed = [text for _, text in re.findall(tagged, messages[-1].text, re.DOTALL)]
    return enclosed or _references(messages[0].text)


def most_alike(texts: Sequence[str]) -> int:
    """Number, from 1, of the text that is most like all others."""
    vectors = _tfidf(texts)
    likeness = [sum(_cosine(a, b) for b in vectors if b is not a) for a in vectors]
    return 1 + likeness.index(max(likeness))


def _read_human(text: str) -> tuple[str, list[str]]:
    """Split what a person wrote into the question and the sentences of the material."""
    files = re.findall(r'<file name="[^"\n]*">\n(.*?)\n</file>', text, re.DOTALL)
    prose = re.sub(r'<file name="[^"\n]*">\n.*?\n</file>', "", text, flags=re.DOTALL)
    own = sentences(prose)
    asked = [sentence for sentence in own if sentence.endswith(("?", "\uff1f", "\u061f"))]
    if not asked:
        asked = own if files else own[:1]
    found = [sentence for sentence in own if sentence not in asked]
    found += [each for file in files for each in sentences(file)]
    return " ".join(asked), [each for each in found if len(re.findall(WORD, each)) > 1]


def _references(system: str) -> list[str]:
    """Read back what `template_references` wrote.

    A numbered list inside a reference may be taken for further ones; no text is lost.
    """
    _, heading, rest = system.rpartition(f"\n\n{REFERENCES_HEADING}\n1. ")
    found: list[str] = []
    while heading and rest:
        text, _, rest = rest.partition(f"\n{len(found) + 2}. ")
        found.append(text)
    return found


def sentences(text: str) -> list[str]:
    """Split plain text or Markdown into sentences, in any script that marks their ends."""
    text = re.sub(r"```.*?(?:```|\Z)|<!--.*?-->|!\[.*?\]\(.*?\)", "\n\n", text, flags=re.DOTALL)
    text = re.sub(r"^\s*#+\s.*$", "\n\n", text, flags=re.MULTILINE)
    text = re.sub(r"^\s*(?:[-*+>]|\d+[.)])\s+", "\n\n", text, flags=re.MULTILINE)
    text = re.sub(r"^\s*(?:\|.*|[-=|: ]{3,})$", "\n\n", text, flags=re.MULTILINE)
    end = (
        r"(?<!\bal\.)(?<!\be\.g\.)(?<!\bi\.e\.)(?<=[.!?\u061f])[\"')\]*]*\s+(?=[^\sa-z])"
        r"|(?<=[\u3002\uff01\uff1f])"
    )
    found = (each for block in re.split(r"\n\s*\n", text) for each in re.split(end, block))
    plain = (" ".join(re.sub(r"\[([^]]+)\]\([^)]*\)|\*\*", r"\1", each).split()) for each in found)
    return [each for each in plain if re.search(WORD, each)]


@lru_cache(maxsize=50_000)
def words(text: str) -> tuple[str, ...]:
    """Words without inflection and without those that say nothing; a CJK character is a word."""
    found = re.findall(WORD, text.lower())
    stems = (re.sub(r"(?<=\w{3})(?:ing|ed|es|s|e)$", "", w) for w in found if w not in STOPWORDS)
    return tuple(re.sub(r"y$", "i", stem) for stem in stems)


def rank_lead(reading: Reading) -> list[int]:
    """Leading sentences."""
    return list(range(len(reading.sentences)))


def rank_bm25(reading: Reading) -> list[int]:
    """Okapi BM25 against the question."""
    return _best(_bm25(reading), reading)


def rank_centroid(reading: Reading) -> list[int]:
    """Nearness to the TF-IDF centroid of the sentences that BM25 finds (relevance feedback)."""
    vectors = _tfidf(reading.sentences)
    centroid: Counter[str] = Counter()
    for index in rank_bm25(reading)[:FEEDBACK]:
        centroid.update(vectors[index])
    return _best([_cosine(vector, centroid) for vector in vectors], reading)


def rank_textrank(reading: Reading) -> list[int]:
    """TextRank: PageRank over the similarity of sentences, at home in those on the question."""
    candidates = sorted(rank_bm25(reading)[:CANDIDATES])
    vectors = _tfidf([reading.sentences[index] for index in candidates])
    links = [[_cosine(a, b) if a is not b else 0.0 for b in vectors] for a in vectors]
    sums = [sum(row) or 1.0 for row in links]
    home = [score + 0.01 for score in _bm25(reading)]
    total = sum(home[index] for index in candidates)
    scores = start = [home[index] / total for index in candidates]
    for _ in range(20):
        flow = [score / weight for score, weight in zip(scores, sums, strict=True)]
        scores = [
            0.15 * start[j] + 0.85 * sum(f * row[j] for f, row in zip(flow, links, strict=True))
            for j in range(len(candidates))
        ]
    full = [0.0] * len(reading.sentences)
    for index, score in zip(candidates, scores, strict=True):
        full[index] = score
    return _best(full, reading)


def rank_mmr(reading: Reading) -> list[int]:
    """Maximal marginal relevance: near the question, far from what is already quoted."""
    candidates = rank_bm25(reading)[:CANDIDATES]
    vectors = _tfidf([*reading.sentences, reading.question])
    chosen: list[int] = []

    def marginal(index: int) -> float:
        repeated = max((_cosine(vectors[index], vectors[j]) for j in chosen), default=0.0)
        return 0.7 * _cosine(vectors[index], vectors[-1]) - 0.3 * repeated

    while candidates and len(chosen) < QUOTED:
        best = max(candidates, key=marginal)
        candidates.remove(best)
        chosen.append(best)
    return chosen


def rank_ngram(reading: Reading) -> list[int]:
    """Share of the question's character trigrams, in any script."""

    def trigrams(text: str) -> set[str]:
        text = f" {' '.join(words(text)) or text.lower()} "
        return {text[i : i + 3] for i in range(len(text) - 2)}

    asked = trigrams(reading.question)
    found = [trigrams(sentence) for sentence in reading.sentences]
    return _best([len(asked & each) / math.sqrt(len(each) + 1) for each in found], reading)


def rank_consensus(reading: Reading) -> list[int]:
    """What most references quote and is near to the question."""
    return rank_bm25(reading)


STYLES: dict[str, Callable[[Reading], list[int]]] = {
    "lead": rank_lead,
    "bm25": rank_bm25,
    "centroid": rank_centroid,
    "textrank": rank_textrank,
    "mmr": rank_mmr,
    "ngram": rank_ngram,
    "consensus": rank_consensus,
}


def _best(scores: Sequence[float], reading: Reading) -> list[int]:
    """Indices, best first; each reference that quotes a sentence counts for it."""
    top = max(scores, default=0.0) or 1.0
    votes = [1 + sum(each in text for text in reading.references) for each in reading.sentences]
    total = [(score / top + 0.1) * vote for score, vote in zip(scores, votes, strict=True)]
    return sorted(range(len(total)), key=lambda index: -total[index])


def _bm25(reading: Reading) -> list[float]:
    documents = [words(sentence) for sentence in reading.sentences]
    average = sum(map(len, documents)) / len(documents) or 1.0
    rarity = _rarity(documents)
    asked = set(words(reading.question))

    def score(document: Sequence[str]) -> float:
        counts = Counter(document)
        length = 1.2 * (0.25 + 0.75 * len(document) / average)
        return sum(
            rarity[w] * counts[w] * 2.2 / (counts[w] + length) for w in asked & counts.keys()
        )

    return [score(document) for document in documents]


def _tfidf(texts: Sequence[str]) -> list[dict[str, float]]:
    documents = [words(text) for text in texts]
    rarity = _rarity(documents)
    return [{w: n * rarity[w] for w, n in Counter(d).items()} for d in documents]


def _rarity(documents: Sequence[Sequence[str]]) -> dict[str, float]:
    """Inverse document frequency."""
    frequency = Counter(word for document in documents for word in set(document))
    return {word: math.log(1 + len(documents) / count) for word, count in frequency.items()}


def _cosine(a: Vector, b: Vector) -> float:
    dot = sum(weight * b[word] for word, weight in a.items() if word in b)
    norms = math.hypot(*a.values()) * math.hypot(*b.values())
    return dot / norms if norms else 0.0
