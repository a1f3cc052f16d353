"""Output files of a batch: answers and failures in the order of the input."""

import heapq
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import dropwhile, groupby
from math import inf
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

from moa_graph.atomic_files import replaced_file, restrict_to_owner
from moa_graph.batch.input import BatchRecord, thread_id_for
from moa_graph.batch.record_runner import OutputRow
from moa_graph.errors import MoAError
from moa_graph.prompting.surrogates import replace_surrogates

_BLOCK_BYTES = 65_536
_ROW_PREFIX = b'{"line": '


class BatchError(MoAError, ValueError):
    """The files do not fit together; the message explains it completely."""


class StoredAnswer(NamedTuple):
    """The needed fields of a stored answer."""

    line: int
    thread: str


class BatchFiles:
    """The files of answers and failures, as a context manager.

    Rows are in the order of the input, and each row is written completely before the next. The
    process may therefore be killed at any moment: a partial row is removed when the files are
    opened again. Answers to records that failed before, and that belong before other rows, are in
    a separate file until the files are closed or opened again. So are known failures, because
    records that are not processed again stay failures.
    """

    def __init__(self, answers: Path) -> None:
        self.answers = answers
        self.failures = answers.with_name(f"{answers.stem}.failed{answers.suffix}")
        self._late_path = answers.with_name(f"{answers.stem}.late{answers.suffix}")
        self._old_failures_path = answers.with_name(f"{answers.stem}.failed.known{answers.suffix}")
        self._superseded_through = 0.0
        self.first_failure: OutputRow | None = None
        """The first failure that was written since the files were opened."""
        self.invalid_count = 0
        """Number of invalid records among the failures since the files were opened."""

    def __enter__(self) -> Self:
        """Open the files.

        Raises:
            BatchError: If they do not belong to a batch.
        """
        restrict_to_owner(self.answers)
        for path in (self.answers, self.failures, self._late_path, self._old_failures_path):
            if path.exists():
                restrict_to_owner(path)
                _check_written_by_batch(path)
                _truncate_partial_row(path)
        self._merge_late_rows()
        self._size, self._last_answered_line = self.answers.stat().st_size, 0
        self._last_answered_line = max((row.line for row in self._read_answers()), default=0)
        self._merge_failures()
        if self.failures.exists():
            self.failures.replace(self._old_failures_path)
        with ExitStack() as open_files:
            self._answers_file = open_files.enter_context(self.answers.open("ab"))
            self._failures_file = open_files.enter_context(self.failures.open("wb"))
            self._open_files = open_files.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open_files.close()
        self._merge_late_rows()
        self._merge_failures()
        if not self.failures.stat().st_size:
            self.failures.unlink()

    def __getstate__(self) -> dict[str, Any]:
        """Return the state that another process needs to read the files."""
        return {"answers": self.answers.absolute(), "_size": self._size}

    def count_answers(self, last_line: int) -> int:
        """Count the stored answers up to a line of the input."""
        return sum(row.line <= last_line for row in self._read_answers())

    def check_input_end(self, last_line: int) -> None:
        """Reject an input that is shorter than the answers.

        Raises:
            BatchError: If it is.
        """
        if last_line < self._last_answered_line:
            raise BatchError(
                f"{self.answers} has an answer to line {self._last_answered_line}, "
                f"but the input ends with line "
                f"{last_line}; choose another --out, or process only the first records with --limit"
            )

    def supersede_failures(self, last_line: float = inf) -> None:
        """Record that all records up to a line were processed: older failures are obsolete."""
        self._superseded_through = last_line

    def write(self, row: OutputRow) -> None:
        """Write the outcome of a record durably.

        Raises:
            BatchError: If it cannot be written.
        """
        try:
            if "error" in row:
                self.first_failure = self.first_failure or row
                self.invalid_count += "thread" not in row  # no run began
                _write_row(self._failures_file, row)
            elif row["line"] > self._last_answered_line:
                _write_row(self._answers_file, row)
            else:
                with self._late_path.open("ab") as file:
                    _write_row(file, row)
        except OSError as error:
            raise BatchError(f"{self.answers}: cannot be written: {error.strerror}") from None

    def skip_answered(
        self, records: Iterable[BatchRecord], batch: str
    ) -> Iterator[BatchRecord | None]:
        """Yield the records without a stored answer, and `None` for the others.

        Raises:
            BatchError: If an answer belongs to another batch or another prompt.
        """
        rows = self._read_answers()
        row = self._next_answer(rows, batch)
        for record in records:
            if row is None or record.line < row.line:
                yield record
            elif thread_id_for(batch, record) == row.thread:
                row = self._next_answer(rows, batch)
                yield None
            else:
                raise BatchError(
                    f"{self.answers} has an answer to another prompt than that of line {row.line}; "
                    "only add lines at the end of the input, or choose another --out"
                )

    def _next_answer(self, rows: Iterator[StoredAnswer], batch: str) -> StoredAnswer | None:
        row = next(rows, None)
        if row and not row.thread.startswith(f"{batch}-"):
            raise BatchError(
                f"{self.answers} holds answers of another mixture, or was renamed: their threads "
                f"are named like {row.thread!r}, and should begin with {batch!r}; choose another "
                "--out"
            )
        return row

    def _read_answers(self) -> Iterator[StoredAnswer]:
        """Read the answers that existed when the files were opened."""
        read = 0
        with self.answers.open("rb") as file:
            for number, line in enumerate(file, 1):
                read += len(line)
                if read > self._size:
                    return
                try:
                    row = json.loads(line)
                    yield StoredAnswer(row["line"], row["thread"])
                except (ValueError, LookupError, TypeError, RecursionError):
                    raise BatchError(
                        f"{self.answers}, line {number}: not written by `moa batch`; choose "
                        "another --out"
                    ) from None

    def _merge_late_rows(self) -> None:
        if not self._late_path.exists():
            return
        with ExitStack() as opened:
            old, late = (
                opened.enter_context(p.open("rb")) for p in (self.answers, self._late_path)
            )
            with replaced_file(self.answers) as file:
                file.writelines(_merge_rows(old, late))
        self._late_path.unlink()

    def _merge_failures(self) -> None:
        """Merge earlier and new failures; the newest row of a line counts."""
        if not self._old_failures_path.exists():
            return
        self.failures.touch()
        with ExitStack() as opened:
            answers, new, old = (
                opened.enter_context(path.open("rb"))
                for path in (self.answers, self.failures, self._old_failures_path)
            )
            still_failed = dropwhile(lambda row: _line_number(row) <= self._superseded_through, old)
            rows = _merge_rows(answers, new, still_failed)
            with replaced_file(self.failures) as file:
                file.writelines(row for row in rows if "error" in json.loads(row))
        self._old_failures_path.unlink()


def _merge_rows(*files: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the rows in order; of a line in several files, the row of the first one."""
    for _, rows in groupby(heapq.merge(*files, key=_line_number), key=_line_number):
        yield next(rows)


def _line_number(row: bytes) -> int:
    return int(json.loads(row)["line"])


def _write_row(file: IO[bytes], row: OutputRow) -> None:
    file.write(replace_surrogates(json.dumps(row, ensure_ascii=False)).encode() + b"\n")
    file.flush()


def _check_written_by_batch(path: Path) -> None:
    with path.open("rb") as file:
        begin = file.read(len(_ROW_PREFIX))
    if not _ROW_PREFIX.startswith(begin):
        raise BatchError(f"{path} was not written by `moa batch`; choose another --out")


def _truncate_partial_row(path: Path) -> None:
    """Remove a partial row of a killed process."""
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            begin = max(0, end - _BLOCK_BYTES)
            file.seek(begin)
            if (newline := file.read(end - begin).rfind(b"\n")) >= 0:
                end = begin + newline + 1
                break
            end = begin
        file.truncate(end)
