"""Checks of options that import neither models nor LangChain."""

from typing import Any

MIN_VOTED_PROPOSALS = 3
"""Proposers of a layer that votes: with two, each could rank only the other's proposal."""


def check_has_readers(references_per_reader: int | None, layer_count: int) -> None:
    """Check that an agent reads drawn proposals.

    Raises:
        ValueError: If no agent does.
    """
    if references_per_reader is not None and layer_count == 1:
        raise ValueError(
            f"`references_per_reader`={references_per_reader!r}: has no effect with one layer, "
            "because the aggregator reads all proposals; expected several layers"
        )


def check_can_vote(proposer_count: int) -> None:
    """Check that enough proposers can vote on their own proposals.

    Raises:
        ValueError: If there are too few.
    """
    if proposer_count < MIN_VOTED_PROPOSALS:
        raise ValueError(
            f"`aggregation`='vote': nobody ranks its own proposal, and the last layer has "
            f"{proposer_count}; expected {MIN_VOTED_PROPOSALS} or more, or `voters`"
        )


def check_finalists(finalists: Any, proposal_count: int) -> int:
    """Check the option `finalists`.

    Raises:
        ValueError: If it is not a number of proposals of the last layer.
    """
    is_number = isinstance(finalists, int) and not isinstance(finalists, bool)
    if not is_number or not 1 <= finalists <= proposal_count:
        raise ValueError(
            f"`finalists`={finalists!r}: expected a number from 1, the winner alone, to "
            f"{proposal_count}, the proposers of the last layer"
        )
    return int(finalists)


def check_has_vote(voters: Any, finalists: Any) -> None:
    """Check that options of a vote are only set with a vote.

    Raises:
        ValueError: If one has no effect.
    """
    if voters is not None:
        raise ValueError(f"`voters`={voters!r}: expected only with `aggregation`='vote'")
    if finalists != 1:
        raise ValueError(f"`finalists`={finalists!r}: expected only with `aggregation`='vote'")
