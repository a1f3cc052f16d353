"""Read TOML files; whatever is wrong with one is a `ValueError` that names the file."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from moa_graph.config.table_names import describe_unquoted_name

Loaded = TypeVar("Loaded")


def load_toml(
    path: str | Path,
    build: Callable[[dict[str, Any]], Loaded],
    format_error: Callable[[ValidationError], str],
    *,
    title: str | None = None,
) -> Loaded:
    """Read a TOML file and build what it describes.

    Args:
        path: The file.
        build: Makes something of its content.
        format_error: Tells the key, the value and what would be accepted.
        title: What errors call the file; by default its path.

    Raises:
        ValueError: If the file cannot be read, or `build` refuses what is in it.
    """
    text = ""
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8-sig")
        return build(tomllib.loads(text))
    except OSError as error:
        reason = error.strerror or str(error)
    except UnicodeDecodeError:
        reason = "not UTF-8 text, as TOML must be"
    except tomllib.TOMLDecodeError as error:
        reason = f"not valid TOML: {error}{describe_unquoted_name(text)}"
    except ValidationError as error:
        reason = format_error(error)
    except ValueError as error:
        reason = str(error)
    raise ValueError(f"{title or path}: {reason}")
