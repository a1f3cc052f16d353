"""Load the instructions of a benchmark or of a prompts file."""

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from moa_graph.evals.benchmark_data import BenchmarkData, BenchmarkItem
from moa_graph.evals.benchmarks.protocol import Benchmark
from moa_graph.evals.benchmarks.registry import benchmark_for, benchmark_names, find_benchmark
from moa_graph.evals.pinned_files import PinnedFile, find_mismatch

_TEXT_KEYS = ("instruction", "prompt", "question")


def load_benchmark(
    name_or_path: str | Path, path: str | Path | None = None, limit: int | None = None
) -> BenchmarkData:
    """Load the items of a benchmark.

    Args:
        name_or_path: The name of a benchmark, such as `alpaca_eval`, or a file of prompts:
            `.jsonl`, `.json`, `.csv` or `.parquet` (which needs pyarrow) with rows that have
            `turns` (a list), `instruction`, `prompt` or `question`, and optionally `id` and
            `category`; or `.txt` with one prompt a line.
        path: File with the data of the named benchmark; by default they are downloaded once, at a
            pinned revision, and verified.
        limit: Number of items, spread evenly over the file. A doubled limit includes the same
            items.

    Returns:
        The data. `revision` is set if it is the pinned file.

    Raises:
        ValueError: If there is no such file, it cannot be downloaded, or it is invalid; the message
            says what to download and where to put it.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"`limit`={limit}: expected a whole number above 0")
    if benchmark := find_benchmark(str(name_or_path)):
        file = Path(path or benchmark.find_data()).expanduser()
        name = benchmark.name
    else:
        file = Path(path or name_or_path).expanduser()
        name = _name_own_prompts(file)
    contents = _read_file(file, is_named=benchmark is not None)
    items, left_out = _parse_items(contents, file, benchmark or benchmark_for(name))
    pinned_file = benchmark.pinned_file if benchmark else None
    return BenchmarkData(
        name=name,
        items=_spread_evenly(items, limit),
        sha256=hashlib.sha256(contents).hexdigest(),
        revision=_find_revision(pinned_file, contents),
        source=str(file) if path or not pinned_file else pinned_file.url,
        full_size=pinned_file.row_count if pinned_file else len(items) + left_out,
        left_out=left_out,
    )


def _find_revision(pinned_file: PinnedFile | None, contents: bytes) -> str | None:
    """Return the revision of a pinned file; `None` if the content differs."""
    if pinned_file is None or find_mismatch(pinned_file, contents):
        return None
    return pinned_file.revision


def _name_own_prompts(file: Path) -> str:
    return f"{file.stem}_file" if find_benchmark(file.stem) else file.stem


def _spread_evenly(items: list[BenchmarkItem], limit: int | None) -> list[BenchmarkItem]:
    if limit is None or limit >= len(items):
        return items
    return [items[index * len(items) // limit] for index in range(limit)]


def _read_file(file: Path, *, is_named: bool) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        suggestion = (
            "" if is_named else f"; expected a file, or one of: {', '.join(benchmark_names())}"
        )
        raise ValueError(f"{file}: {error.strerror}{suggestion}") from None


def _parse_items(data: bytes, file: Path, benchmark: Benchmark) -> tuple[list[BenchmarkItem], int]:
    """Return the items of a file, and the number of rows that the benchmark leaves out."""
    parsed = [
        _parse_item(row, number, f"{file}, {location}", benchmark)
        for number, (location, row) in enumerate(_parse_rows(data, file))
    ]
    items = [item for item in parsed if item]
    if not items:
        raise ValueError(f"{file}: no prompt in it")
    duplicate, times = Counter(item.id for item in items).most_common(1)[0]
    if times > 1:
        raise ValueError(f"{file}: the id {duplicate!r} occurs {times} times")
    return items, len(parsed) - len(items)


def _parse_rows(data: bytes, file: Path) -> Iterator[tuple[str, Any]]:
    """Yield each row with its location."""
    if file.suffix == ".parquet":
        yield from _parse_parquet(data, file)
        return
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{file}: not UTF-8 text") from None
    lines = [(f"line {n}", line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    match file.suffix:
        case ".txt":
            yield from ((location, {"prompt": line.strip()}) for location, line in lines)
        case ".jsonl":
            yield from ((place, _parse_json(line, f"{file}, {place}")) for place, line in lines)
        case ".json":
            rows = _parse_json(text, str(file))
            if not isinstance(rows, list):
                type_name = type(rows).__name__
                raise ValueError(f"{file}: expected a list of rows, got {type_name}")
            yield from ((f"row {number}", row) for number, row in enumerate(rows))
        case ".csv":
            yield from _parse_csv(text, file)
        case suffix:
            raise ValueError(
                f"{file}: expected .jsonl, .json, .csv, .parquet or .txt, got {suffix!r}"
            )


def _parse_csv(text: str, file: Path) -> Iterator[tuple[str, Any]]:
    """Return the rows of a table whose first row names the columns."""
    rows = csv.DictReader(io.StringIO(text, newline=""))
    try:
        for row in rows:
            yield f"line {rows.line_num}", {key: value for key, value in row.items() if key}
    except csv.Error as error:
        raise ValueError(f"{file}, line {rows.line_num}: {error}") from None


def _parse_parquet(data: bytes, file: Path) -> Iterator[tuple[str, Any]]:
    try:
        from pyarrow import ArrowException, BufferReader, parquet
    except ImportError:
        raise ValueError(
            f"{file}: .parquet is read by pyarrow; run: pip install pyarrow, or write it as .jsonl"
        ) from None
    try:
        rows = parquet.read_table(BufferReader(data)).to_pylist()
    except (ArrowException, OSError) as error:
        raise ValueError(f"{file}: not Parquet: {error}") from None
    yield from ((f"row {number}", row) for number, row in enumerate(rows))


def _parse_json(text: str, location: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{location}: not valid JSON: {error}") from None


def _parse_item(row: Any, number: int, location: str, benchmark: Benchmark) -> BenchmarkItem | None:
    if not isinstance(row, dict):
        raise ValueError(f"{location}: expected an object, got {type(row).__name__}")
    try:
        benchmark.check_row(row)
        row = benchmark.read_row(row)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{location}: {error}") from None
    if row is None:
        return None
    turns = _read_turns(row, location)
    ids = [row[key] for key in benchmark.id_keys if isinstance(row.get(key), (str, int))]
    category = next(filter(None, map(row.get, benchmark.category_keys)), None)
    return BenchmarkItem(
        id=ids[0] if ids else number,
        turns=turns,
        category=str(category) if category else None,
        row=row,
    )


def _read_turns(row: Mapping[str, Any], location: str) -> tuple[str, ...]:
    values = [row[key] for key in ("turns", *_TEXT_KEYS) if row.get(key)]
    turns = values[0] if values and isinstance(values[0], list) else values[:1]
    if not turns or not all(isinstance(turn, str) and turn.strip() for turn in turns):
        raise ValueError(
            f"{location}: expected `turns` (a list of texts), or a text in one of "
            f"{', '.join(_TEXT_KEYS)}; got the keys {', '.join(row) or 'none'}"
        )
    return tuple(turns)
