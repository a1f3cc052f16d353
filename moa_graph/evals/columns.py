"""Convert columns of numbers (lists, arrays, series) to arrays."""

from collections.abc import Sequence, Sized

import numpy as np
import numpy.typing as npt

Column = npt.NDArray[np.float64]
Values = npt.ArrayLike | Sequence[float | None]
"""Accepted types of a column; `None` and NaN are gaps."""


def read_column(name: str, values: Values, *, gaps: bool = False) -> Column:
    """Convert values to a column of numbers.

    Args:
        name: Its name in errors.
        values: One number or gap for each row.
        gaps: Whether gaps are allowed.

    Returns:
        The numbers, of shape (rows,).

    Raises:
        ValueError: If it is not such a column.
    """
    try:
        column = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{name}`: expected one number for each row: {error}") from error
    if column.ndim != 1:
        raise ValueError(f"`{name}`: expected one number for each row, got shape {column.shape}")
    if not column.size:
        raise ValueError(f"`{name}`: expected at least one row, got none")
    invalid = np.isinf(column) if gaps else ~np.isfinite(column)
    if invalid.any():
        row = int(np.argmax(invalid))
        raise ValueError(f"`{name}`: expected a finite number, got {column[row]} in row {row}")
    return column


def check_range(name: str, column: Column, low: float, high: float) -> None:
    """Raise `ValueError` if a number is outside `low` to `high`; gaps are ignored."""
    out_of_range = (column < low) | (column > high)
    if out_of_range.any():
        row = int(np.argmax(out_of_range))
        raise ValueError(f"`{name}`: expected {low:g} to {high:g}, got {column[row]} in row {row}")


def check_aligned(**columns: Sized) -> None:
    """Raise `ValueError` if the columns have different numbers of rows."""
    rows = {name: len(column) for name, column in columns.items()}
    if len(set(rows.values())) > 1:
        row_counts = ", ".join(f"`{name}` has {count}" for name, count in rows.items())
        raise ValueError(f"expected the same number of rows everywhere: {row_counts}")
