"""`Scorer`, the base class of exact scorers, and its results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Score:
    """The score of an answer."""

    points: float
    """Points from 0 to 1; 1 is correct."""
    answer: str | None = None
    """The extracted final answer, normalized so that equal answers are equal texts; `None` if there
    is none, or the scorer extracts none."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Points by part, if there are several, such as the fields of an object."""
    note: str | None = None
    """Why it is wrong, if that is not obvious."""


class Scorer(Protocol):
    """Base class of exact scorers. Add subclasses to `SCORERS`."""

    name: str
    """Name on the command line and in plans."""
    required_keys: Sequence[str] = ("expected",)
    """Required keys of a row of the data."""
    reads_answers: bool = True
    """Whether it extracts a final answer, so that answers can be compared."""
    runs_code: bool = False
    """Whether it runs code of models."""

    def check_row(self, row: Mapping[str, Any]) -> None:
        """Reject a row of the data that cannot be scored.

        Raises:
            ValueError: If it cannot.
        """
        if missing := [key for key in self.required_keys if row.get(key) is None]:
            raise ValueError(
                f"scorer {self.name}: each row needs the keys {', '.join(self.required_keys)}; "
                f"missing: {', '.join(missing)}; got the keys {', '.join(row) or 'none'}"
            )

    def score(self, answer: str, row: Mapping[str, Any]) -> Score:
        """Score an answer.

        Args:
            answer: The answer of a system; any text.
            row: The row of the data, checked by `check_row`.
        """


def list_expected(row: Mapping[str, Any]) -> list[str]:
    """Return the correct answers: `expected` is one, or a list of them."""
    expected = row["expected"]
    return [str(each) for each in (expected if isinstance(expected, list) else [expected])]
