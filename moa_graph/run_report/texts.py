"""The answer and the proposals as HTML, with shared wording marked."""

from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from markupsafe import Markup

from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.markdown import MarkdownDocument, render_claim, render_markdown
from moa_graph.markdown.document import MAX_LAID_OUT_CHARS
from moa_graph.run_report.call_states import CallState, describe_call, read_call_state
from moa_graph.run_report.columns import HELPER_TITLES, title_of
from moa_graph.run_report.headings import lower_headings
from moa_graph.run_report.highlights import mark_shared_words
from moa_graph.run_report.influence import (
    MIN_SHARED_WORDS,
    find_words,
    measure_influence,
    round_percentages,
)
from moa_graph.runs.agent_call import AgentCall
from moa_graph.runs.record import RunRecord

OPENED = 2
"""Number of initially open proposals, those with the largest shares of the answer."""


@dataclass(frozen=True)
class ShownProposal:
    """A proposal, or the text of a helper node."""

    call: AgentCall
    state: CallState
    number: int | None
    """Its number in the next prompt; `None` if there is none."""
    percent: int | None
    """Share of the answer's words in common runs, in percent."""
    html: Markup
    is_open: bool
    is_edited: bool
    same_as: str = ""
    """Name of an earlier proposal with the same text, which is not repeated."""

    @property
    def facts(self) -> str:
        """Facts shown beside its name."""
        parts = [
            describe_call(self.call, self.state),
            "edited" if self.is_edited else "",
            "selected" if self.call.selected else "",
            f"same text as {self.same_as}" if self.same_as else "",
            f"{self.percent} % of the answer" if self.percent is not None else "",
        ]
        if self.state.name == "ok":
            parts.insert(0, self.state.word)
        return " · ".join(filter(None, parts))


@dataclass(frozen=True)
class ProposalGroup:
    """The texts of a layer, or of helper nodes."""

    title: str
    proposals: Sequence[ShownProposal]
    is_last: bool
    """Whether the aggregator read the group."""
    percent_new: int | None
    """Share of the answer that is in none of the texts, in percent."""


@dataclass(frozen=True)
class ShownTexts:
    """All texts of a run."""

    answer: Markup | None
    groups: Sequence[ProposalGroup]
    """The groups: the layer that the aggregator read, then the layers before, last one first."""
    marked: AbstractSet[str]
    """Numbers of the proposals with marks in the answer."""

    @property
    def numbered(self) -> list[ShownProposal]:
        """Proposals with marks in the answer."""
        proposals = self.groups[0].proposals if self.groups else ()
        return [each for each in proposals if str(each.number) in self.marked]


def lay_out_texts(run: RunRecord, edited: Sequence[str], *, is_reused: bool) -> ShownTexts:
    """Return the texts of a run for the page.

    Args:
        run: The run.
        edited: Nodes of proposals that a person edited.
        is_reused: Whether the proposals are those of an earlier call of the turn.
    """
    groups: dict[str, list[AgentCall]] = defaultdict(list)
    for call in run.calls:
        if call.node != AGGREGATOR:
            groups[title_of(call)].append(call)
    layers = [title for title in groups if title not in HELPER_TITLES.values()]
    order = [*reversed(layers), *(title for title in groups if title not in layers)]
    answer = str(run.answer.text) if run.answer else None
    shown = _TextReader(answer, edited, is_reused=is_reused)
    html, marked = shown.lay_out_answer(groups[layers[-1]] if layers else ())
    return ShownTexts(
        html,
        [shown.lay_out_group(t, groups[t], is_last=t == (layers or [""])[-1]) for t in order],
        marked,
    )


class _TextReader:
    def __init__(self, answer: str | None, edited: Sequence[str], *, is_reused: bool) -> None:
        self._answer, self._edited, self._is_reused = answer, edited, is_reused

    def lay_out_answer(self, calls: Sequence[AgentCall]) -> tuple[Markup | None, set[str]]:
        """Render the answer with marks of shared wording, and return it with their numbers."""
        if self._answer is None:
            return None, set()
        numbers = number_proposals(calls)
        others = {str(numbers[call.node]): call.text for call in calls if call.node in numbers}
        return self._render_marked(self._answer, others)

    def lay_out_group(
        self, title: str, calls: Sequence[AgentCall], *, is_last: bool
    ) -> ProposalGroup:
        """Render the texts of a group."""
        numbers, twins = number_proposals(calls), _find_twins(calls)
        percents, percent_new = self._measure_shares(calls, twins) if is_last else ({}, None)
        shared = [node for node, percent in percents.items() if percent]
        candidates = [node for node in numbers if node not in twins]
        opened = sorted(shared, key=lambda node: -percents[node]) or candidates
        shown = [
            ShownProposal(
                call=call,
                state=read_call_state(call, is_reused=self._is_reused),
                number=numbers.get(call.node),
                percent=percents.get(call.node),
                html=self._render(call, numbers.get(call.node) if is_last else None),
                is_open=is_last and call.node in opened[:OPENED],
                is_edited=call.node in self._edited,
                same_as=twins.get(call.node, ""),
            )
            for call in calls
        ]
        return ProposalGroup(title, shown, is_last, percent_new)

    def _measure_shares(
        self, calls: Sequence[AgentCall], twins: Container[str]
    ) -> tuple[dict[str, int], int | None]:
        """Return the shares of the answer's wording by proposal, and the rest."""
        texts = {
            call.node: call.text
            for call in calls
            if call.is_proposal and not call.error and call.node not in twins
        }
        if not self._answer or not texts:
            return {}, None
        influence = measure_influence(self._answer, texts)
        *percents, new = round_percentages([*influence.shares.values(), influence.new])
        return dict(zip(influence.shares, percents, strict=True)), new

    def _render(self, call: AgentCall, number: int | None) -> Markup:
        text = call.partial_text if call.error else call.text
        is_marked = self._answer and number is not None and not call.error
        others = {str(number): self._answer or ""} if is_marked else {}
        html, _ = self._render_marked(text, others)
        return html

    def _render_marked(self, text: str, others: Mapping[str, str]) -> tuple[Markup, set[str]]:
        """Render a text with marks of shared wording; return it with the labels of the marks."""
        if not others or len(text) > MAX_LAID_OUT_CHARS:
            return render_text(text), set()
        document = MarkdownDocument(text)
        min_words = min(MIN_SHARED_WORDS, len(find_words(self._answer or "")))
        marks = mark_shared_words(document, others, min_words)
        html = lower_headings("\n".join(document.render(marks)))
        labels = {label for mark in marks for label in mark.who.split()}
        return Markup(html), labels  # noqa: S704  # it escapes what it is given


def _find_twins(calls: Sequence[AgentCall]) -> dict[str, str]:
    """Return the proposals with the text of an earlier one, by that one's name."""
    first: dict[str, str] = {}
    twins: dict[str, str] = {}
    for call in calls:
        text = call.text.strip()
        if call.is_proposal and not call.error and text:
            if text in first:
                twins[call.node] = first[text]
            first.setdefault(text, call.agent)
    return twins


def number_proposals(calls: Sequence[AgentCall]) -> dict[str, int]:
    """Number the proposals of a layer as in the prompts of their readers."""
    answered = (call.node for call in calls if call.is_proposal and not call.error)
    return {node: number for number, node in enumerate(answered, 1)}


def render_short_text(text: str) -> Markup:
    """Render a text in a table or a list."""
    return Markup(render_claim(text))  # noqa: S704  # it escapes what it is given


def render_text(text: str) -> Markup:
    """Render a text, with headings below those of the page."""
    return Markup(lower_headings(render_markdown(text)))  # noqa: S704  # it escapes what it is given
