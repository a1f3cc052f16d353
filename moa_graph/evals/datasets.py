"""What is asked: the instructions of a benchmark, or prompts of one's own."""

import hashlib
import json
import os
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from platformdirs import user_cache_path

SECONDS = 60  # that a server may be silent


@dataclass(frozen=True)
class Pin:
    """Where the data of a benchmark stand, and what must be there."""

    url: str
    revision: str
    rows: int
    size: int | None = None
    """Bytes, where no hash is known: the revision in the address is one."""
    sha256: str | None = None
    ends: tuple[str, str] | None = None
    """How its sha256 begins and ends, where no more of it is known."""

    @property
    def file(self) -> str:
        """Name of the file."""
        return self.url.rpartition("/")[2]


_FASTCHAT, _FLASK = (
    "587d5cfa1609a43d192cedb8441cac3c17db105d",
    "0a0e02e6b9b17df91074f639fe1e5f7256fd68a5",
)
_ALPACA_EVAL = "2edc6fad8be6b14ea7230aabfd08188da6b8b814"

PINS = {
    "alpaca_eval": Pin(
        "https://huggingface.co/datasets/tatsu-lab/alpaca_eval/resolve/"
        f"{_ALPACA_EVAL}/alpaca_eval_gpt4_baseline.json",
        _ALPACA_EVAL,
        805,
        sha256="83db546b872ddebee8965fd05fa48461ee3c32bc695c62fb57f2d214ff741ec4",
    ),
    "mt_bench": Pin(
        f"https://raw.githubusercontent.com/lm-sys/FastChat/{_FASTCHAT}/"
        "fastchat/llm_judge/data/mt_bench/question.jsonl",
        _FASTCHAT,
        80,
        sha256="119565adbab82227089cefdb44c8d7e2cf04dc0a0ec233634c82e7d4e2a944f7",
    ),
    "flask": Pin(
        f"https://raw.githubusercontent.com/kaistAI/FLASK/{_FLASK}/"
        "evaluation_set/flask_evaluation.jsonl",
        _FLASK,
        1740,
        size=2_301_319,
    ),
}
"""The data of each benchmark. That of AlpacaEval also holds the reference's answers."""

_IDS = {"alpaca_eval": (), "mt_bench": ("question_id",), "flask": ("idx",)}
_NEEDED = {
    "alpaca_eval": ("instruction",),
    "mt_bench": ("question_id", "category", "turns"),
    "flask": ("instruction", "answer", "skill"),
}
"""Keys without which a row is not one of the benchmark's."""
_TURNS = 2  # of each conversation of MT-Bench
_OWN_IDS = ("id", "question_id", "idx")
_TEXTS = ("instruction", "prompt", "question")


@dataclass(frozen=True)
class Item:
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
    items: Sequence[Item]
    sha256: str
    """Of the file."""
    revision: str | None
    """Of the data set, where the file is the pinned one; else `None`."""
    source: str
    """The path or the address."""
    whole: int
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
    name, pin = str(name_or_path), PINS.get(str(name_or_path))
    file = Path(path or (fetch(pin) if pin else name_or_path)).expanduser()
    data = _read(file, name)
    items = _items(data, file, name)
    sha256 = hashlib.sha256(data).hexdigest()
    pinned = bool(pin and not _mistake(pin, data))
    return Benchmark(
        name=name if pin else f"{file.stem}_file" if file.stem in PINS else file.stem,
        items=[items[place * len(items) // limit] for place in range(limit)]
        if limit and limit < len(items)
        else items,
        sha256=sha256,
        revision=pin.revision if pin and pinned else None,
        source=str(file) if path or not pin else pin.url,
        whole=pin.rows if pin else len(items),
    )


def fetch(pin: Pin, option: str = "--data") -> Path:
    """Give a file of the data set from the cache, or download it and check it.

    Args:
        pin: The file.
        option: How the command line is told where it stands, for the error.

    Raises:
        ValueError: If it cannot be had, or is another one.
    """
    place = user_cache_path("moa_graph") / "benchmarks" / pin.revision / pin.file
    if place.is_file() and not _mistake(pin, place.read_bytes()):
        return place
    advice = f"fetch it elsewhere and give its path ({option}), or put it at {place}"
    try:
        with urllib.request.urlopen(pin.url, timeout=SECONDS) as response:  # noqa: S310  # as pinned
            data = response.read()
    except OSError as error:
        if isinstance(error, HTTPError):
            error.close()
        raise ValueError(f"{pin.url} cannot be downloaded ({error}); {advice}") from None
    if mistake := _mistake(pin, data):
        raise ValueError(f"{pin.url} is not what it was: {mistake}; {advice}")
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_suffix(f".{os.getpid()}.part")
    part.write_bytes(data)
    part.replace(place)
    return place


def _mistake(pin: Pin, data: bytes) -> str | None:
    found = hashlib.sha256(data).hexdigest()
    if pin.sha256 and found != pin.sha256:
        return f"sha256 {found}, expected {pin.sha256}"
    if pin.ends and not (found.startswith(pin.ends[0]) and found.endswith(pin.ends[1])):
        return f"sha256 {found}, expected {'…'.join(pin.ends)}"
    if pin.size and len(data) != pin.size:
        return f"{len(data):,} bytes, expected {pin.size:,}"
    return None


def _read(file: Path, name: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        known = "" if name in PINS else f"; expected a file, or one of: {', '.join(PINS)}"
        raise ValueError(f"{file}: {error.strerror}{known}") from None


def _items(data: bytes, file: Path, name: str) -> list[Item]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{file}: not UTF-8 text") from None
    items = [
        _item(row, number, f"{file}, {place}", name)
        for number, (place, row) in enumerate(_rows(text, file))
    ]
    if not items:
        raise ValueError(f"{file}: no prompt in it")
    often, times = Counter(item.id for item in items).most_common(1)[0]
    if times > 1:
        raise ValueError(f"{file}: the id {often!r} stands there {times} times")
    return items


def _rows(text: str, file: Path) -> Iterator[tuple[str, Any]]:
    """Give each row with a word on where it stands."""
    lines = [(f"line {n}", line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    match file.suffix:
        case ".txt":
            yield from ((place, {"prompt": line.strip()}) for place, line in lines)
        case ".jsonl":
            yield from ((place, _json(line, f"{file}, {place}")) for place, line in lines)
        case ".json":
            rows = _json(text, str(file))
            if not isinstance(rows, list):
                found = type(rows).__name__
                raise ValueError(f"{file}: expected a list of rows, got {found}")  # noqa: TRY004
            yield from ((f"row {number}", row) for number, row in enumerate(rows))
        case suffix:
            raise ValueError(f"{file}: expected .jsonl, .json or .txt, got {suffix!r}")


def _json(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{place}: not valid JSON: {error}") from None


def _item(row: Any, number: int, place: str, name: str) -> Item:
    if not isinstance(row, dict):
        raise ValueError(f"{place}: expected an object, got {type(row).__name__}")  # noqa: TRY004
    _check_row(row, place, name)
    found = [row[key] for key in ("turns", *_TEXTS) if row.get(key)]
    turns = found[0] if found and isinstance(found[0], list) else found[:1]
    if not turns or not all(isinstance(turn, str) and turn.strip() for turn in turns):
        raise ValueError(
            f"{place}: expected `turns` (a list of texts), or a text in one of "
            f"{', '.join(_TEXTS)}; got the keys {', '.join(row) or 'none'}"
        )
    known = [row[key] for key in _IDS.get(name, _OWN_IDS) if isinstance(row.get(key), (str, int))]
    category = row.get("category") or row.get("dataset")
    return Item(
        id=known[0] if known else number,
        turns=tuple(turns),
        category=str(category) if category else None,
        row=row,
    )


def _check_row(row: Mapping[str, Any], place: str, name: str) -> None:
    """Refuse a row that is not one of the benchmark's."""
    needed = _NEEDED.get(name, ())
    if missing := [key for key in needed if row.get(key) is None]:
        raise ValueError(
            f"{place}: a row of {name} has {', '.join(needed)}; missing: {', '.join(missing)}; "
            f"got the keys {', '.join(row) or 'none'}"
        )
    if name == "mt_bench" and not (isinstance(row["turns"], list) and len(row["turns"]) == _TURNS):
        raise ValueError(
            f"{place}: `turns`: expected a list of two texts, as {name} has, got {row['turns']!r}"
        )
