"""What is asked: a record a line of JSON, read when it is needed."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

from langchain_core.messages import convert_to_messages
from pydantic import ValidationError

from moa_graph.config.model import MoAConfig
from moa_graph.prompting.parsing import storable

_SHAPING = ("layers", "aggregator", "fallbacks", "final", "references_in", "max_reference_tokens")
_NOT_SHAPING = {"timeout", "max_retries", "api_key_env"}


@dataclass(frozen=True)
class Record:
    """A line of the input. It is plain data, so that it can be sent to another process."""

    line: int
    """Its number in the file, from 1."""
    id: str | int
    """What the file calls it; by default the number of the line."""
    messages: list[dict[str, Any]] = field(default_factory=list)
    """The conversation, as OpenAI's API writes it."""
    mistake: str | None = None
    """Why it cannot be asked; `None` if it can."""


def read_records(path: Path, limit: int | None = None) -> Iterator[Record]:
    """Read the records of a file, one at a time; empty lines are none.

    Args:
        path: JSON Lines: `{"prompt": …}` or `{"messages": […]}`, perhaps with an `id`.
        limit: How many of the first records to take.
    """
    with path.open("rb") as file:
        lines = ((number, line) for number, line in enumerate(file, 1) if line.strip())
        for number, line in islice(lines, limit):
            yield parse(number, line)


def count_records(path: Path, limit: int | None = None) -> tuple[int, int]:
    """Count the records of a file, and give the line of the last one."""
    count = last = 0
    with path.open("rb") as file:
        lines = (number for number, line in enumerate(file, 1) if line.strip())
        for count, last in enumerate(islice(lines, limit), 1):  # noqa: B007
            pass
    return count, last


def parse(number: int, line: bytes) -> Record:
    """Read a record; what is wrong with it is kept in it."""
    record = Record(number, number)
    try:
        row = json.loads(line)
        record = Record(number, _id(row, number))
        return Record(number, record.id, _messages(row))
    except UnicodeDecodeError:
        mistake = "not UTF-8 text"
    except json.JSONDecodeError as error:
        mistake = f"not JSON: {error.msg} at character {error.pos + 1}"
    except RecursionError:
        mistake = "not JSON that can be read: too deep"
    except ValueError as error:
        mistake = str(error)
    return Record(number, record.id, mistake=mistake)


def batch_name(output: Path, mixture: MoAConfig) -> str:
    """Name a batch, so that a later process finds its threads: by its file and its mixture.

    What only says how long and how often agents are asked, or what they cost, is no part of it.
    """
    shape = mixture.with_defaults().model_dump(mode="json", include=set(_SHAPING))
    for agent in (*_agents(shape["layers"]), shape["aggregator"], *shape["fallbacks"]):
        for name in _NOT_SHAPING:
            agent.pop(name)
    return f"{output.stem}-{_digest(shape)}"


def thread_of(batch: str, record: Record) -> str:
    """Name the thread of a record: another prompt in its place has another thread.

    Who holds such a thread holds its batch (`Store.lock`).
    """
    return f"{batch}-{record.line}-{_digest(record.messages)}"


def _id(row: Any, number: int) -> str | int:
    if not isinstance(row, dict):
        text = f"expected an object with `prompt` or `messages`, got {_kind(row)}"
        raise ValueError(text)  # noqa: TRY004  # like any other mistake in the line
    found = row.get("id", number)
    if isinstance(found, bool) or not isinstance(found, (str, int)):
        text = f"`id`: expected a text or a whole number, got {_kind(found)}"
        raise ValueError(text)  # noqa: TRY004  # likewise
    if storable(str(found)) != str(found):
        raise ValueError(f"`id`: expected whole characters, got {found!a}")
    return found


def _messages(row: dict[str, Any]) -> list[dict[str, Any]]:
    if ("prompt" in row) == ("messages" in row):
        raise ValueError("expected either `prompt` or `messages`")
    if "prompt" in row:
        prompt = row["prompt"]
        if not isinstance(prompt, str) or not prompt.strip():
            raise ValueError(f"`prompt`: expected a text that is not empty, got {_kind(prompt)}")
        return [{"role": "user", "content": prompt}]
    messages = row["messages"]
    if not isinstance(messages, list) or not messages or not all(map(_has_role, messages)):
        raise ValueError("`messages`: expected a list of objects with `role` and `content`")
    for place, message in enumerate(messages):
        _check(message, f"messages[{place}]")
    if convert_to_messages(messages[-1:])[0].type == "ai":
        raise ValueError("`messages`: expected the last one to be the user's, got the assistant's")
    return messages


def _check(message: dict[str, Any], place: str) -> None:
    try:
        convert_to_messages([message])
    except ValidationError as error:
        deepest = max(error.errors(), key=lambda each: len(each["loc"]))
        field, *inside = deepest["loc"]
        where = "".join(f"[{part}]" for part in inside if isinstance(part, int))
        said = f"{deepest['msg'][0].lower()}{deepest['msg'][1:]}, got {_kind(deepest['input'])}"
        raise ValueError(f"`{place}.{field}{where}`: {said}") from None
    except KeyError as error:
        raise ValueError(f"`{place}`: {error} is missing") from None
    except Exception as error:  # noqa: BLE001  # LangChain raises whatever it stumbles over
        said = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(f"`{place}`: {said}") from None


def _has_role(message: Any) -> bool:
    return isinstance(message, dict) and isinstance(message.get("role"), str)


def _kind(value: Any) -> str:
    return "an empty text" if value == "" else f"{type(value).__name__}"


def _agents(layers: list[dict[str, dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    for layer in layers:
        yield from layer.values()


def _digest(value: Any) -> str:
    return sha256(json.dumps(value).encode()).hexdigest()[:8]
