"""Read TOML files; every error is a `ValueError` that names the file."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from moa_graph.config.table_names import describe_unquoted_name

MAX_TOML_BYTES = 1_000_000  # a mixture of a hundred agents needs a fiftieth

Loaded = TypeVar("Loaded")


def load_toml(
    path: str | Path,
    build: Callable[[dict[str, Any]], Loaded],
    format_error: Callable[[ValidationError], str],
    *,
    title: str | None = None,
) -> Loaded:
    """Read a TOML file and build an object from it.

    Args:
        path: The file.
        build: Builds the object from the content.
        format_error: Describes the key, the value and the accepted values of an error.
        title: Name of the file in errors; by default its path.

    Raises:
        ValueError: If the file cannot be read, or `build` rejects its content.
    """
    text = ""
    try:
        text = _read_text(Path(path).expanduser())
        return build(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        reason = f"not valid TOML: {error}{describe_unquoted_name(text)}"
    except RecursionError:
        reason = "not valid TOML: nested too deeply"
    except ValidationError as error:
        reason = format_error(error)
    except ValueError as error:
        reason = str(error)
    raise ValueError(f"{title or path}: {reason}")


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TOML_BYTES + 1)
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from None
    if len(data) > MAX_TOML_BYTES:
        raise ValueError(f"more than {MAX_TOML_BYTES:,} bytes; expected a configuration")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 text, as TOML must be") from None
