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

from moa_graph.prompting.layout import NAME_THE_BEST, REFERENCES_HEADING

QUOTED = 3  # sentences in an answer, and the least part of the material that they may be
FEEDBACK = 5  # sentences that make up a centroid
CANDIDATES = 300  # sentences that the quadratic methods look at
VOTED_ON = 2000  # sentences, the best ones, that are looked for in the references
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

CODE = "```"
_CLOSED_BY = {CODE: [CODE], "<!--": ["-->"], "![": ["](", ")"]}


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
    return _enclosed(messages[-1].text) or _references(messages[0].text)


def most_alike(texts: Sequence[str]) -> int:
    """Number, from 1, of the text that is most like all others.

    A text's likeness to the sum of all is what its likeness to each makes: there may be many.
    """
    units = list(map(_unit, _tfidf(texts)))
    whole = _sum(units)
    # Where two are as like, the last bits must not decide.
    likeness = [round(_dot(unit, whole) - _dot(unit, unit), 9) for unit in units]
    return 1 + likeness.index(max(likeness))


def _read_human(text: str) -> tuple[str, list[str]]:
    """Split what a person wrote into the question and the sentences of the material."""
    closed, mark, rest = text.rpartition("\n</file>")  # behind the last end no file is searched for
    parts = re.split(r'<file name="[^"\n]*">\n(.*?)\n</file>', closed + mark, flags=re.DOTALL)
    files, own = parts[1::2], sentences("".join([*parts[::2], rest]))
    asked = [sentence for sentence in own if sentence.endswith(("?", "\uff1f", "\u061f"))]
    if not asked:
        asked = own if files else own[:1]
    known = set(asked)
    found = [sentence for sentence in own if sentence not in known]
    found += [each for file in files for each in sentences(file)]
    return " ".join(asked), [each for each in found if len(re.findall(WORD, each)) > 1]


def _references(system: str) -> list[str]:
    """Read back what `template_references` wrote.

    A numbered list inside a reference may be taken for further ones; no text is lost.
    """
    _, heading, rest = system.rpartition(f"\n\n{REFERENCES_HEADING}\n1. ")
    found, start = list[str](), 0
    while heading and start < len(rest):
        end = rest.find(mark := f"\n{len(found) + 2}. ", start)
        end = len(rest) if end < 0 else end
        found.append(rest[start:end])
        start = end + len(mark)
    return found


def _enclosed(text: str) -> list[str]:
    """Read back what `enclose_references` wrote, at the end: a question may hold the like."""
    if not (keys := re.findall(r"<response-(\w+) 1>\n", text)):
        return []
    ends = f"\n</response-{keys[-1]} "
    closed, mark, _ = text.rpartition(ends)
    return re.findall(rf"<response-{keys[-1]} \d+>\n(.*?){ends}", closed + mark, re.DOTALL)


def sentences(text: str) -> list[str]:
    """Split plain text or Markdown into sentences, in any script that marks their ends."""
    text = _prose(text)
    # No pattern goes on into the next line: each empty line would go through those behind it.
    text = re.sub(r"^[^\S\n]*+#++\s.*$", "\n\n", text, flags=re.MULTILINE)
    text = re.sub(r"^[^\S\n]*+(?:[-*+>]|\d++[.)])\s+", "\n\n", text, flags=re.MULTILINE)
    table = r"^[^\S\n]*+(?:\|.*|[-=|: ]++(?<=[-=|: ]{3}))$"
    text = re.sub(table, "\n\n", text, flags=re.MULTILINE)
    end = (
        r"(?<!\bal\.)(?<!\be\.g\.)(?<!\bi\.e\.)(?<=[.!?\u061f])[\"')\]*]*+\s++(?=[^\sa-z])"
        r"|(?<=[\u3002\uff01\uff1f])"
    )
    found = (each for block in re.split(r"\n\s*\n", text) for each in re.split(end, block))
    plain = (" ".join(_without_links(each).split()) for each in found)
    return [each for each in plain if re.search(WORD, each)]


def _prose(text: str) -> str:
    """Cut out code, comments and pictures; code that is not closed goes on to the end."""
    kept, place, unclosed = list[str](), 0, set[str]()
    for opened in re.finditer(rf"{CODE}|<!--|!\[", text):
        kind = opened[0]
        if opened.start() < place or kind in unclosed:
            continue
        end = _behind(text, opened.end(), *_CLOSED_BY[kind])
        if end is None and kind != CODE:
            unclosed.add(kind)  # nor will another one be
            continue
        kept += [text[place : opened.start()], "\n\n"]
        place = len(text) if end is None else end
    return "".join([*kept, text[place:]])


def _behind(text: str, place: int, *marks: str) -> int | None:
    """Find where marks end that come one after the other; `None` if they do not."""
    for mark in marks:
        if (found := text.find(mark, place)) < 0:
            return None
        place = found + len(mark)
    return place


def _without_links(text: str) -> str:
    """Leave of links their labels, and of what is bold the words."""

    def shown(match: re.Match[str]) -> str:
        return match[1] or match[0].replace("**", "")

    closed, mark, rest = text.rpartition(")")  # behind the last end no link is searched for
    linked = re.sub(r"\[([^]]++)\]\([^)]*+\)|\[[^]]*+|\*\*", shown, closed + mark)
    return linked + rest.replace("**", "")


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
    best = rank_bm25(reading)[:FEEDBACK]
    return _best(_cosines(vectors, _sum(vectors[index] for index in best)), reading)


def rank_textrank(reading: Reading) -> list[int]:
    """TextRank: PageRank over the similarity of sentences, at home in those on the question."""
    candidates = sorted(rank_bm25(reading)[:CANDIDATES])
    vectors = _tfidf([reading.sentences[index] for index in candidates])
    links = [_cosines(vectors, vector) for vector in vectors]
    for place, row in enumerate(links):
        row[place] = 0.0
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
    *vectors, asked = _tfidf([*reading.sentences, reading.question])
    vectors = [vectors[index] for index in candidates]
    near, repeated = _cosines(vectors, asked), [0.0] * len(candidates)
    left, chosen = list(range(len(candidates))), list[int]()
    while left and len(chosen) < QUOTED:
        best = max(left, key=lambda place: 0.7 * near[place] - 0.3 * repeated[place])
        left.remove(best)
        chosen.append(candidates[best])
        repeated = list(map(max, repeated, _cosines(vectors, vectors[best])))
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
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    total = [score / top + 0.1 for score in scores]
    for index in order[:VOTED_ON]:
        total[index] *= 1 + sum(reading.sentences[index] in text for text in reading.references)
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


def _cosines(vectors: Sequence[Vector], other: Vector) -> list[float]:
    """Give the likeness of each to another one."""
    size = _norm(other)
    sizes = [_norm(vector) * size for vector in vectors]
    return [_dot(each, other) / n if n else 0.0 for each, n in zip(vectors, sizes, strict=True)]


def _dot(a: Vector, b: Vector) -> float:
    return sum(weight * b[word] for word, weight in a.items() if word in b)


def _unit(vector: Vector) -> Vector:
    norm = _norm(vector)
    return {word: weight / norm for word, weight in vector.items()}


def _norm(vector: Vector) -> float:
    return math.hypot(*vector.values())


def _sum(vectors: Iterable[Vector]) -> Vector:
    total: Vector = defaultdict(float)
    for vector in vectors:
        for word, weight in vector.items():
            total[word] += weight
    return total
