"""Votes: agents rank the proposals, and Borda points decide.

Each voter is a separate node. Its ballot is stored with the proposals of the turn, under the name
of the node. A voter reads all proposals but its own, without names and in a random order. The
result is always counted from the state.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, NamedTuple, cast

from typing_extensions import TypedDict  # pydantic needs it on Python 3.11

from moa_graph.graph.model_builder import build_own_models
from moa_graph.graph.node_names import vote_name
from moa_graph.graph.quorum import has_quorum
from moa_graph.graph.reference_selection import (
    DrawnReferences,
    ReferenceSelector,
    answered_nodes,
    find_seed,
    shuffle,
)
from moa_graph.graph.spec import AgentNode, LayerSpec
from moa_graph.prompting.layout import PromptLayout


@dataclass(frozen=True)
class BallotSelector(ReferenceSelector):
    """Selects references for a voter: all proposals but its own, in a random order."""

    own: str | None = None
    """Node of the voter's own proposal, if there is one."""

    @property
    def is_drawn(self) -> bool:
        """Whether the order is drawn; always true."""
        return True

    def draw(
        self, reader: str, nodes: Sequence[str], state: Mapping[str, Any]
    ) -> DrawnReferences | None:
        """Draw the order of the proposals."""
        return super().draw(reader, [node for node in nodes if node != self.own], state)

    def choose_layout(self, layout: PromptLayout, draw: DrawnReferences | None) -> PromptLayout:  # noqa: ARG002  # as the one that it overrides
        """Return the layout of a voter's prompt."""
        return layout.for_ranking()


class VoteSummary(TypedDict):
    """Result of a vote.

    Attributes:
        ranking: Nodes of the proposals, best first.
        points: Borda points by node: mean share, from 0 to 1, of the maximum of a ballot.
        ballots: Number of counted ballots.
        missing: Nodes of the voters without a valid ballot.
        tied: Nodes with the same points as the last finalist, if not all of them are finalists.
            First places decide such a tie, then the configured order. Empty if there was none.
    """

    ranking: list[str]
    points: dict[str, float]
    ballots: int
    missing: list[str]
    tied: list[str]


class _Score(NamedTuple):
    points: Fraction
    first_places: int


@dataclass(frozen=True)
class Vote:
    """Voters, candidates and the number of finalists."""

    layer_spec: LayerSpec
    """Nodes of the voters."""
    candidates: Sequence[str]
    """Nodes of the proposals, in configured order."""
    finalists: int

    @property
    def decides(self) -> bool:
        """Whether the winner is the answer."""
        return self.finalists == 1

    @property
    def nodes(self) -> list[str]:
        """Names of the voters' nodes."""
        return [each.node for each in self.layer_spec.agent_nodes]

    def find_missing(self, state: Mapping[str, Any]) -> list[str]:
        """Return the voters that must run before the ballots can be counted."""
        ballots = self.layer_spec.proposals_in(cast("Any", state))
        if len(ballots) == len(self.nodes) and has_quorum(ballots, self.layer_spec.policy):
            return []
        answered = answered_nodes(self.nodes, state)
        return [node for node in self.nodes if node not in answered]

    def count(self, state: Mapping[str, Any]) -> VoteSummary:
        """Count the ballots in a state."""
        candidates, proposals = answered_nodes(self.candidates, state), state["proposals"]
        voters = answered_nodes(self.nodes, state)
        ballots = [read_ballot(proposals[node]["content"]) for node in voters]
        scores = _count_points([[n for n in b if n in candidates] for b in ballots], candidates)
        ranking = sorted(
            candidates, key=lambda node: scores[node], reverse=True
        )  # the sort is stable
        at_cut = [n for n in ranking if scores[n].points == _last_points(ranking, scores, self)]
        is_cut = len(ranking) > self.finalists and ranking[self.finalists] in at_cut
        return VoteSummary(
            ranking=ranking,
            points={node: round(float(scores[node].points), 4) for node in ranking},
            ballots=len(voters),
            missing=[node for node in self.nodes if node not in voters],
            tied=at_cut if is_cut else [],
        )


@dataclass(frozen=True)
class FinalistSelector(ReferenceSelector):
    """Selects references for the aggregator: the finalists."""

    vote: Vote | None = None

    def draw(
        self, reader: str, nodes: Sequence[str], state: Mapping[str, Any]
    ) -> DrawnReferences | None:
        """Return the finalists in configured order, unless the order is shuffled."""
        if self.vote is None:
            return super().draw(reader, nodes, state)
        best = self.vote.count(state)["ranking"][: self.vote.finalists]
        if self.is_shuffled:
            seed = find_seed(reader, best, state)
            return DrawnReferences(shuffle(best, seed), seed)
        return DrawnReferences([node for node in nodes if node in best], None)


def set_up_vote(
    last_layer: LayerSpec, voters: Sequence[tuple[str, AgentNode]], finalists: int
) -> Vote:
    """Set up the vote on the proposals of the last layer.

    Args:
        last_layer: The proposers.
        voters: The voters by name: agents of that layer, or others.
        finalists: Number of finalists.
    """
    candidates = [each.node for each in last_layer.agent_nodes]
    agent_nodes = [
        replace(
            voter,
            node=vote_name(name),
            name=name,
            layer=last_layer.number + 1,
            agent=voter.agent.model_copy(update={"joint_samples": False}),
            reference_nodes=candidates,
            selector=BallotSelector(
                is_shuffled=True, own=voter.node if voter.node in candidates else None
            ),
        )
        for name, voter in voters
    ]
    build_models = build_own_models(agent_nodes)
    spec = LayerSpec(
        last_layer.number + 1,
        [replace(each, build_models=build_models) for each in agent_nodes],
        last_layer.policy,
    )
    return Vote(spec, candidates, finalists)


def format_ballot(nodes: Sequence[str]) -> str:
    """Format a ballot for the state, where it can be edited: a node on each line, best first."""
    return "\n".join(f"{rank}. {node}" for rank, node in enumerate(nodes, 1))


def read_ballot(text: str) -> list[str]:
    """Return the nodes of a stored ballot, each once, best first."""
    lines = (line.strip() for line in text.splitlines())
    return list(dict.fromkeys(re.sub(r"^[0-9]{1,4}\.\s", "", line) for line in lines if line))


def _count_points(ballots: Sequence[Sequence[str]], candidates: Sequence[str]) -> dict[str, _Score]:
    """Return the points of each candidate; a ballot with one proposal counts nothing."""
    shares: dict[str, list[Fraction]] = {node: [] for node in candidates}
    for ballot in ballots:
        most = len(ballot) - 1
        for place, node in enumerate(ballot if most else ()):
            shares[node].append(Fraction(most - place, most))
    return {
        node: _Score(sum(got, Fraction()) / max(1, len(got)), got.count(Fraction(1)))
        for node, got in shares.items()
    }


def _last_points(
    ranking: Sequence[str], scores: Mapping[str, _Score], vote: Vote
) -> Fraction | None:
    """Return the points of the last finalist."""
    best = ranking[: vote.finalists]
    return scores[best[-1]].points if best else None
