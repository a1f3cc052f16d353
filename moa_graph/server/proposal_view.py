"""A proposal beside the answer, and beside its agent's proposal of the layer before."""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import groupby

from moa_graph.markdown import Mark, MarkdownDocument
from moa_graph.markdown.document import MAX_LAID_OUT_CHARS
from moa_graph.run_report.influence import AnswerSpan, measure_influence
from moa_graph.run_report.word_diff import WordChanges
from moa_graph.runs.agent_call import AgentCall
from moa_graph.runs.record import RunRecord
from moa_graph.server.errors import ApiError
from moa_graph.server.json_types import JsonObject

MAX_COMPARISONS = 2_000_000  # pairs of equal words that take a fifth of a second
_ANSWER = "answer"


def describe_proposal(run: RunRecord, node: str) -> JsonObject:
    """Compare a proposal with the answer and with the layer before.

    Args:
        run: The turn.
        node: Node of the proposal. Outputs of other nodes, such as voters or the aggregator, are
            rendered without a comparison.

    Raises:
        ApiError: If there is no such call.
    """
    call = next((each for each in run.calls if each.node == node), None)
    if call is None:
        raise ApiError(404, f"node: no proposal of {node!r} at this step", code="not_found")
    text = call.text or call.partial_text
    document = _parse(text)
    compared = {"in_answer": None, "answer": None, "share": None}
    if run.answer and call.text and call.is_proposal:
        compared = _compare_with_answer(run, call, document)
    return {
        "text": text,
        "html": _join(document.render()),
        **compared,
        "since": _compare_with_before(run, call, document),
    }


def _compare_with_answer(run: RunRecord, call: AgentCall, document: MarkdownDocument) -> JsonObject:
    answer = _parse(run.answer.text if run.answer else "")
    influence = measure_influence(answer.text, _layer_texts(run, call.layer))
    own = measure_influence(document.text, {_ANSWER: answer.text})
    return {
        "in_answer": _join(document.render(list(_mark_spans(own.spans, names=False)))),
        "answer": answer.render(list(_mark_spans(influence.spans, names=True))),
        "share": influence.shares[call.node],
    }


def _layer_texts(run: RunRecord, layer: int) -> Mapping[str, str]:
    return {
        each.node: _parse(each.text).text
        for each in run.proposals
        if each.layer == layer and not each.error
    }


def _mark_spans(spans: Sequence[AnswerSpan], *, names: bool) -> Iterator[Mark]:
    """Mark spans with a source, without trailing space."""
    position = 0
    for span in spans:
        if span.sources:
            who = " ".join(span.sources) if names else ""
            yield Mark(position, position + len(span.words), who=who)
        position += len(span.text)


def _compare_with_before(run: RunRecord, call: AgentCall, document: MarkdownDocument) -> str | None:
    before = next(
        (
            each
            for each in run.proposals
            if each.layer == call.layer - 1 and each.agent == call.agent and each.text
        ),
        None,
    )
    if before is None or not call.text or not call.is_proposal:
        return None
    old = _parse(before.text)
    spans = {"old_spans": old.formulas, "new_spans": document.formulas}
    changes = WordChanges(old.text, document.text, MAX_COMPARISONS, **spans)
    return _join(document.render(list(_mark_changes(changes, old, document.text))))


def _mark_changes(changes: WordChanges, old: MarkdownDocument, text: str) -> Iterator[Mark]:
    """Mark added text, and insert removed text."""
    formulas = {old.text[start:end] for start, end in old.formulas}
    position = len(text) - len(text.lstrip())
    for kind, words in changes.parts:
        if kind == "left out":
            yield from _put_in(words, position, formulas)
            continue
        joined = "".join(words)
        if kind == "added":
            yield Mark(position, position + len(joined.rstrip()), "ins")
        position += len(joined)


def _put_in(words: Sequence[str], position: int, formulas: AbstractSet[str]) -> Iterator[Mark]:
    """Insert removed words; each formula is a separate mark."""
    for is_formula, group in groupby(words, lambda word: word.strip() in formulas):
        for text in group if is_formula else ["".join(group)]:
            shown = " ".join(text.split())
            insertion = shown if is_formula else f"{shown} "
            yield Mark(position, position, "del", insertion=insertion, is_formula=is_formula)


def _parse(text: str) -> MarkdownDocument:
    return MarkdownDocument(text[:MAX_LAID_OUT_CHARS])


def _join(blocks: Sequence[str]) -> str:
    return "\n".join(blocks)
