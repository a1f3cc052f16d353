"""Agreement and dissent of the proposals: by count, by vote, or by an analysis."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from moa_graph.graph.analysis import find_analysis
from moa_graph.graph.node_names import VOTE
from moa_graph.graph.run_summary import read_run_summary
from moa_graph.prompting.exact_answers import read_exact_answers
from moa_graph.run_report.columns import name_of
from moa_graph.runs.record import RunRecord


@dataclass(frozen=True)
class ShownClaim:
    """A claim, and the proposals that make it."""

    text: str
    held_by: Sequence[str]
    """Names of the agents."""
    against: Sequence[str]
    in_answer: Literal["yes", "no", ""]
    """Whether the answer agrees; empty if that cannot be compared."""


@dataclass(frozen=True)
class ShownContradiction:
    """An issue on which proposals contradict each other."""

    text: str
    positions: Sequence[tuple[str, Sequence[str]]]
    """The claims, with their agents."""


@dataclass(frozen=True)
class ShownAnalysis:
    """An analysis with names of agents."""

    consensus: Sequence[str]
    contradictions: Sequence[ShownContradiction]
    unique: Sequence[tuple[str, str]]
    """Points of only one proposal, with its agent."""
    blind_spots: Sequence[str]
    use: str
    """How the aggregator read it."""
    model: str


@dataclass(frozen=True)
class RankedProposal:
    """A proposal and its result in a vote."""

    agent: str
    points: float
    went_on: bool


@dataclass(frozen=True)
class ShownVote:
    """The result of a vote."""

    ranking: Sequence[RankedProposal]
    ballots: int
    missing: Sequence[str]
    tied: Sequence[str]
    voters: Sequence[str]


@dataclass(frozen=True)
class ShownDissent:
    """Agreement and dissent of the proposals."""

    figure: float | None
    method: str
    claims: Sequence[ShownClaim]
    analysis: ShownAnalysis | None
    vote: ShownVote | None

    def __bool__(self) -> bool:
        return self.figure is not None or bool(self.analysis or self.vote)


def read_dissent(run: RunRecord, state: Mapping[str, Any]) -> ShownDissent:
    """Return agreement and dissent of the proposals of a run."""
    agreement = run.agreement
    return ShownDissent(
        figure=agreement["figure"] if agreement else None,
        method=agreement["method"] if agreement else "",
        claims=_list_claims(run),
        analysis=_read_analysis(run, state),
        vote=_read_vote(run),
    )


def _list_claims(run: RunRecord) -> list[ShownClaim]:
    answer = str(run.answer.text) if run.answer else ""
    return [
        ShownClaim(
            each["claim"],
            [name_of(node) for node in each["nodes"]],
            [name_of(node) for node in each["against"]],
            _stands_in(each["claim"], answer),
        )
        for each in (run.agreement["dissent"] if run.agreement else ())
    ]


def _stands_in(claim: str, answer: str) -> Literal["yes", "no", ""]:
    """Return whether the answer equals a claim, if both can be compared."""
    claimed, given_answer = read_exact_answers([claim, answer])
    if not claimed or not given_answer:
        return ""
    return "yes" if claimed.key == given_answer.key else "no"


def _read_analysis(run: RunRecord, state: Mapping[str, Any]) -> ShownAnalysis | None:
    call = next((call for call in run.calls if call.helper_role == "analysis"), None)
    if call is None or (analysis := find_analysis(state)) is None:
        return None
    summary: Mapping[str, Any] = read_run_summary(run.answer) or {}
    return ShownAnalysis(
        consensus=analysis["consensus"],
        contradictions=[
            ShownContradiction(
                each["issue"],
                [(p["stance"], [name_of(n) for n in p["held_by"]]) for p in each["positions"]],
            )
            for each in analysis["contradictions"]
        ],
        unique=[(each["point"], name_of(each["held_by"])) for each in analysis["unique"]],
        blind_spots=analysis["blind_spots"],
        use=summary.get("analysis", ""),
        model=call.model,
    )


def _read_vote(run: RunRecord) -> ShownVote | None:
    if not (vote := run.vote):
        return None
    winner = run.selected.node if run.selected else None
    return ShownVote(
        [
            RankedProposal(name_of(node), vote["points"][node], node == winner)
            for node in vote["ranking"]
        ],
        vote["ballots"],
        [node.removeprefix(f"{VOTE}_") for node in vote["missing"]],
        [name_of(node) for node in vote["tied"]],
        [call.agent for call in run.calls if call.helper_role == VOTE],
    )
