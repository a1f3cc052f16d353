"""What is asked: the instructions of a benchmark, or prompts of one's own."""

import hashlib
import json
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from platformdirs import user_cache_path

from moa_graph.atomic_files import replaced_file

DOWNLOAD_TIMEOUT_S = 60  # that a server may be silent


@dataclass(frozen=True)
class PinnedFile:
    """Where the data of a benchmark stand, and what must be there."""

    url: str
    revision: str
    row_count: int
    size: int | None = None
    """Bytes, where no hash is known: the revision in the address is one."""
    sha256: str | None = None
    sha256_ends: tuple[str, str] | None = None
    """How its sha256 begins and ends, where no more of it is known."""

    @property
    def file_name(self) -> str:
        """Name of the file."""
        return self.url.rpartition("/")[2]


_FASTCHAT, _FLASK = (
    "587d5cfa1609a43d192cedb8441cac3c17db105d",
    "0a0e02e6b9b17df91074f639fe1e5f7256fd68a5",
)
_ALPACA_EVAL = "2edc6fad8be6b14ea7230aabfd08188da6b8b814"

PINNED_DATASETS = {
    "alpaca_eval": PinnedFile(
        "https://huggingface.co/datasets/tatsu-lab/alpaca_eval/resolve/"
        f"{_ALPACA_EVAL}/alpaca_eval_gpt4_baseline.json",
        _ALPACA_EVAL,
        805,
        sha256="83db546b872ddebee8965fd05fa48461ee3c32bc695c62fb57f2d214ff741ec4",
    ),
    "mt_bench": PinnedFile(
        f"https://raw.githubusercontent.com/lm-sys/FastChat/{_FASTCHAT}/"
        "fastchat/llm_judge/data/mt_bench/question.jsonl",
        _FASTCHAT,
        80,
        sha256="119565adbab82227089cefdb44c8d7e2cf04dc0a0ec233634c82e7d4e2a944f7",
    ),
    "flask": PinnedFile(
        f"https://raw.githubusercontent.com/kaistAI/FLASK/{_FLASK}/"
        "evaluation_set/flask_evaluation.jsonl",
        _FLASK,
        1740,
        size=2_301_319,
    ),
}
"""The data of each benchmark. That of AlpacaEval also holds the reference's answers."""

_ID_KEYS = {"alpaca_eval": (), "mt_bench": ("question_id",), "flask": ("idx",)}
_REQUIRED_KEYS = {
    "alpaca_eval": ("instruction",),
    "mt_bench": ("question_id", "category", "turns"),
    "flask": ("instruction", "answer", "skill"),
}
"""Keys without which a row is not one of the benchmark's."""
_MT_BENCH_TURNS = 2  # of each conversation of MT-Bench
_OWN_ID_KEYS = ("id", "question_id", "idx")
_TEXT_KEYS = ("instruction", "prompt", "question")


@dataclass(frozen=True)
class BenchmarkItem:
    """One thing that is asked."""

    id: str | int
    """The benchmark's own number; where it has none, the place in the file, from 0."""
    turns: tuple[str, ...]
    """What the user says, turn by turn."""
    category: str | None = None
    row: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """All that the file says of it."""


@dataclass(frozen=True)
class Benchmark:
    """Items, and where they are from."""

    name: str
    items: Sequence[BenchmarkItem]
    sha256: str
    """Of the file."""
    revision: str | None
    """Of the data set, where the file is the pinned one; else `None`."""
    source: str
    """The path or the address."""
    full_size: int
    """How many items the benchmark has in all."""


def load_benchmark(
    name_or_path: str | Path, path: str | Path | None = None, limit: int | None = None
) -> Benchmark:
    """Load what is to be asked.

    Args:
        name_or_path: `alpaca_eval`, `mt_bench`, `flask`, or a file of prompts: `.jsonl` or
            `.json` with rows that have `turns` (a list), `instruction`, `prompt` or `question`,
            and perhaps `id` and `category`; or `.txt` with a prompt a line.
        path: Where the data of the named benchmark stand; by default they are downloaded once,
            at a pinned revision, and checked.
        limit: How many items to take, spread evenly over the file. Twice as many take in the
            same ones.

    Returns:
        The benchmark. `revision` tells whether it is the pinned file.

    Raises:
        ValueError: If there is no such file, it cannot be downloaded, or it is not what was
            expected; the message says what to fetch and where to put it.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"`limit`={limit}: expected a number from 1 on")
    name, pinned_file = str(name_or_path), PINNED_DATASETS.get(str(name_or_path))
    file = Path(
        path or (fetch_pinned_file(pinned_file) if pinned_file else name_or_path)
    ).expanduser()
    data = _read_file(file, name)
    items = _parse_items(data, file, name)
    sha256 = hashlib.sha256(data).hexdigest()
    is_pinned = bool(pinned_file and not _find_mismatch(pinned_file, data))
    return Benchmark(
        name=name
        if pinned_file
        else f"{file.stem}_file"
        if file.stem in PINNED_DATASETS
        else file.stem,
        items=[items[index * len(items) // limit] for index in range(limit)]
        if limit and limit < len(items)
        else items,
        sha256=sha256,
        revision=pinned_file.revision if pinned_file and is_pinned else None,
        source=str(file) if path or not pinned_file else pinned_file.url,
        full_size=pinned_file.row_count if pinned_file else len(items),
    )


def fetch_pinned_file(pinned_file: PinnedFile, option: str = "--data") -> Path:
    """Give a file of the data set from the cache, or download it and check it.

    Args:
        pinned_file: The file.
        option: How the command line is told where it stands, for the error.

    Raises:
        ValueError: If it cannot be had, or is another one.
    """
    path = (
        user_cache_path("moa_graph") / "benchmarks" / pinned_file.revision / pinned_file.file_name
    )
    if path.is_file() and not _find_mismatch(pinned_file, path.read_bytes()):
        return path
    advice = f"fetch it elsewhere and give its path ({option}), or put it at {path}"
    try:
        with urllib.request.urlopen(pinned_file.url, timeout=DOWNLOAD_TIMEOUT_S) as response:  # noqa: S310  # as pinned
            data = response.read()
    except OSError as error:
        if isinstance(error, HTTPError):
            error.close()
        raise ValueError(f"{pinned_file.url} cannot be downloaded ({error}); {advice}") from None
    if mismatch := _find_mismatch(pinned_file, data):
        raise ValueError(f"{pinned_file.url} is not what it was: {mismatch}; {advice}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced_file(path) as file:
        file.write(data)
    return path


def _find_mismatch(pinned_file: PinnedFile, data: bytes) -> str | None:
    sha256 = hashlib.sha256(data).hexdigest()
    if pinned_file.sha256 and sha256 != pinned_file.sha256:
        return f"sha256 {sha256}, expected {pinned_file.sha256}"
    if pinned_file.sha256_ends and not (
        sha256.startswith(pinned_file.sha256_ends[0])
        and sha256.endswith(pinned_file.sha256_ends[1])
    ):
        return f"sha256 {sha256}, expected {'…'.join(pinned_file.sha256_ends)}"
    if pinned_file.size and len(data) != pinned_file.size:
        return f"{len(data):,} bytes, expected {pinned_file.size:,}"
    return None


def _read_file(file: Path, name: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        known = (
            ""
            if name in PINNED_DATASETS
            else f"; expected a file, or one of: {', '.join(PINNED_DATASETS)}"
        )
        raise ValueError(f"{file}: {error.strerror}{known}") from None


def _parse_items(data: bytes, file: Path, name: str) -> list[BenchmarkItem]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{file}: not UTF-8 text") from None
    items = [
        _parse_item(row, number, f"{file}, {location}", name)
        for number, (location, row) in enumerate(_parse_rows(text, file))
    ]
    if not items:
        raise ValueError(f"{file}: no prompt in it")
    duplicate, times = Counter(item.id for item in items).most_common(1)[0]
    if times > 1:
        raise ValueError(f"{file}: the id {duplicate!r} stands there {times} times")
    return items


def _parse_rows(text: str, file: Path) -> Iterator[tuple[str, Any]]:
    """Give each row with a word on where it stands."""
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
                raise ValueError(f"{file}: expected a list of rows, got {type_name}")  # noqa: TRY004
            yield from ((f"row {number}", row) for number, row in enumerate(rows))
        case suffix:
            raise ValueError(f"{file}: expected .jsonl, .json or .txt, got {suffix!r}")


def _parse_json(text: str, location: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{location}: not valid JSON: {error}") from None


def _parse_item(row: Any, number: int, location: str, name: str) -> BenchmarkItem:
    if not isinstance(row, dict):
        raise ValueError(f"{location}: expected an object, got {type(row).__name__}")  # noqa: TRY004
    _check_row(row, location, name)
    values = [row[key] for key in ("turns", *_TEXT_KEYS) if row.get(key)]
    turns = values[0] if values and isinstance(values[0], list) else values[:1]
    if not turns or not all(isinstance(turn, str) and turn.strip() for turn in turns):
        raise ValueError(
            f"{location}: expected `turns` (a list of texts), or a text in one of "
            f"{', '.join(_TEXT_KEYS)}; got the keys {', '.join(row) or 'none'}"
        )
    ids = [
        row[key] for key in _ID_KEYS.get(name, _OWN_ID_KEYS) if isinstance(row.get(key), (str, int))
    ]
    category = row.get("category") or row.get("dataset")
    return BenchmarkItem(
        id=ids[0] if ids else number,
        turns=tuple(turns),
        category=str(category) if category else None,
        row=row,
    )


def _check_row(row: Mapping[str, Any], location: str, name: str) -> None:
    """Refuse a row that is not one of the benchmark's."""
    needed = _REQUIRED_KEYS.get(name, ())
    if missing := [key for key in needed if row.get(key) is None]:
        raise ValueError(
            f"{location}: a row of {name} has {', '.join(needed)}; missing: {', '.join(missing)}; "
            f"got the keys {', '.join(row) or 'none'}"
        )
    if name == "mt_bench" and not (
        isinstance(row["turns"], list) and len(row["turns"]) == _MT_BENCH_TURNS
    ):
        raise ValueError(
            f"{location}: `turns`: expected a list of two texts, as {name} has, got "
            f"{row['turns']!r}"
        )
