"""The files of a batch: answers and failures, each in the order of the input."""

import heapq
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import dropwhile, groupby
from math import inf
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

from moa_graph.batch.input import Record, thread_of
from moa_graph.batch.record_runner import Row
from moa_graph.prompting.parsing import storable

_BLOCK = 65_536
_BEGIN = b'{"line": '


class BatchError(ValueError):
    """What is in the files does not fit; the text explains it in full."""


class Answered(NamedTuple):
    """What is needed of an answer that is there."""

    line: int
    thread: str


class Files:
    """Where the answers and the failures go. To be used in `with`.

    Rows come in the order of the input, and each is written whole before the next, so that a
    process may be killed at any moment: half a row is cut off when the files are opened again.
    Answers to records that failed before, and that belong before others, wait in a file of their
    own until the files are closed, or opened again. So do the failures that were known before:
    those whose records are not asked again are failures still.
    """

    def __init__(self, answers: Path) -> None:
        self.answers = answers
        self.failures = answers.with_name(f"{answers.stem}.failed{answers.suffix}")
        self._late = answers.with_name(f"{answers.stem}.late{answers.suffix}")
        self._known = answers.with_name(f"{answers.stem}.failed.known{answers.suffix}")
        self._settled = 0.0

    def __enter__(self) -> Self:
        """Open the files.

        Raises:
            BatchError: If they are not those of a batch.
        """
        self.answers.touch()
        for path in (self.answers, self.failures, self._late, self._known):
            if path.exists():
                _check_ours(path)
                _drop_half_a_row(path)
        self._put_late_rows_in_place()
        self._size, self._last = self.answers.stat().st_size, 0
        self._last = max((row.line for row in self._rows()), default=0)
        self._join_failures()
        if self.failures.exists():
            self.failures.replace(self._known)
        with ExitStack() as opened:
            self._answered = opened.enter_context(self.answers.open("ab"))
            self._failed = opened.enter_context(self.failures.open("wb"))
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()
        self._put_late_rows_in_place()
        self._join_failures()
        if not self.failures.stat().st_size:
            self.failures.unlink()

    def __getstate__(self) -> dict[str, Any]:
        """Send to another process what it needs to read."""
        return {"answers": self.answers.absolute(), "_size": self._size}

    def count(self, last: int) -> int:
        """Count the answers that were there, up to a line of the input."""
        return sum(row.line <= last for row in self._rows())

    def check_end(self, last: int) -> None:
        """Refuse an input that ends before what is answered.

        Raises:
            BatchError: If it does.
        """
        if last < self._last:
            raise BatchError(
                f"{self.answers} has an answer to line {self._last}, but the input ends with line "
                f"{last}; choose another --out, or take the first records alone with --limit"
            )

    def settle(self, last: float = inf) -> None:
        """Take note that all records up to a line were asked: older failures there are over."""
        self._settled = last

    def write(self, row: Row) -> None:
        """Write what came of a record, so that it outlives this process.

        Raises:
            BatchError: If it cannot be written.
        """
        try:
            if "error" in row:
                _write(self._failed, row)
            elif row["line"] > self._last:
                _write(self._answered, row)
            else:
                with self._late.open("ab") as file:
                    _write(file, row)
        except OSError as error:
            raise BatchError(f"{self.answers}: cannot be written: {error.strerror}") from None

    def unanswered(self, records: Iterable[Record], batch: str) -> Iterator[Record | None]:
        """Give the records whose answers were not there; for the others, `None`.

        Raises:
            BatchError: If an answer is that of another batch, or to another prompt.
        """
        rows = self._rows()
        row = self._next(rows, batch)
        for record in records:
            if row is None or record.line < row.line:
                yield record
            elif thread_of(batch, record) == row.thread:
                row = self._next(rows, batch)
                yield None
            else:
                raise BatchError(
                    f"{self.answers} has an answer to another prompt than that of line {row.line}; "
                    "lines can be added at the end of the input, else choose another --out"
                )

    def _next(self, rows: Iterator[Answered], batch: str) -> Answered | None:
        row = next(rows, None)
        if row and not row.thread.startswith(f"{batch}-"):
            raise BatchError(
                f"{self.answers} holds answers of another mixture, or was renamed: their threads "
                f"are named like {row.thread!r}, and should begin with {batch!r}; choose another "
                "--out"
            )
        return row

    def _rows(self) -> Iterator[Answered]:
        """Read the answers that were there when the files were opened."""
        read = 0
        with self.answers.open("rb") as file:
            for number, line in enumerate(file, 1):
                read += len(line)
                if read > self._size:
                    return
                try:
                    row = json.loads(line)
                    yield Answered(row["line"], row["thread"])
                except (ValueError, LookupError, TypeError, RecursionError):
                    raise BatchError(
                        f"{self.answers}, line {number}: not written by `moa batch`; choose "
                        "another --out"
                    ) from None

    def _put_late_rows_in_place(self) -> None:
        if not self._late.exists():
            return
        with ExitStack() as opened:
            old, late = (opened.enter_context(p.open("rb")) for p in (self.answers, self._late))
            _replace(self.answers, _merge(old, late))
        self._late.unlink()

    def _join_failures(self) -> None:
        """Put the failures that were known among those of now; a line's newest row counts."""
        if not self._known.exists():
            return
        self.failures.touch()
        with ExitStack() as opened:
            answers, new, known = (
                opened.enter_context(path.open("rb"))
                for path in (self.answers, self.failures, self._known)
            )
            open_yet = dropwhile(lambda row: _line(row) <= self._settled, known)
            rows = _merge(answers, new, open_yet)
            _replace(self.failures, (row for row in rows if "error" in json.loads(row)))
        self._known.unlink()


def _merge(*files: Iterable[bytes]) -> Iterator[bytes]:
    """Give the rows in order; of a line that is in several files, the row of the first."""
    for _, rows in groupby(heapq.merge(*files, key=_line), key=_line):
        yield next(rows)


def _replace(path: Path, rows: Iterable[bytes]) -> None:
    """Write a file at one stroke."""
    part = path.with_name(f"{path.name}.part")
    with part.open("wb") as file:
        file.writelines(rows)
    part.replace(path)


def _line(row: bytes) -> int:
    return int(json.loads(row)["line"])


def _write(file: IO[bytes], row: Row) -> None:
    file.write(storable(json.dumps(row, ensure_ascii=False)).encode() + b"\n")
    file.flush()


def _check_ours(path: Path) -> None:
    with path.open("rb") as file:
        begin = file.read(len(_BEGIN))
    if not _BEGIN.startswith(begin):
        raise BatchError(f"{path} was not written by `moa batch`; choose another --out")


def _drop_half_a_row(path: Path) -> None:
    """Cut off what a killed process began to write."""
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            begin = max(0, end - _BLOCK)
            file.seek(begin)
            if (found := file.read(end - begin).rfind(b"\n")) >= 0:
                end = begin + found + 1
                break
            end = begin
        file.truncate(end)
