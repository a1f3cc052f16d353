"""Accepted keys of `moa serve`: from options, the environment and a file."""

import os
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path

from moa_graph.cli.errors import CommandError
from moa_graph.server.auth import ApiKey

KEY_VARIABLE = "MOA_API_KEY"

_MAX_FILE_BYTES = 1_000_000
_NAME = re.compile(r"[A-Za-z0-9_.@-]{1,64}")


def read_api_keys(arguments: Sequence[str], file: Path | None) -> list[ApiKey]:
    """Read all keys.

    Args:
        arguments: Keys of the command line; without any, `MOA_API_KEY` is read.
        file: TOML file of names and keys.

    Raises:
        CommandError: If a key is empty, which must not open the server, or repeated, or if the
            file is invalid. Errors do not repeat keys.
    """
    variable = os.environ.get(KEY_VARIABLE)
    if arguments:
        keys = [_check_key(key, "--api-key") for key in arguments]
    else:
        keys = [] if variable is None else [_check_key(variable, KEY_VARIABLE)]
    api_keys = [ApiKey(key) for key in keys]
    if file is not None:
        api_keys += _read_file(file)
    if len({each.key for each in api_keys}) < len(api_keys):
        raise CommandError("--api-key, --api-key-file: a key is given twice; expected each once")
    return api_keys


def _check_key(key: str, place: str) -> str:
    if not key.strip():
        raise CommandError(f"{place}: empty; expected a key, or leave it out")
    return key.strip()


def _read_file(path: Path) -> list[ApiKey]:
    place = f"--api-key-file {path}"
    try:
        with path.expanduser().open("rb") as file:
            table = tomllib.loads(file.read(_MAX_FILE_BYTES).decode("utf-8-sig"))
    except OSError as error:
        raise CommandError(f"{place}: {error.strerror or error}") from None
    except (ValueError, RecursionError):  # the invalid part may be a key, which is not repeated
        raise CommandError(
            f"{place}: not valid TOML; expected lines such as: ada = 'a long text'"
        ) from None
    if not table:
        raise CommandError(f"{place}: no keys; expected lines such as: ada = 'a long text'")
    return [_read_entry(place, name, key) for name, key in table.items()]


def _read_entry(place: str, name: str, key: object) -> ApiKey:
    if not _NAME.fullmatch(name):
        raise CommandError(
            f"{place}: a name is invalid; expected up to 64 letters, digits, _ . @ -"
        )
    if not isinstance(key, str):
        raise CommandError(f"{place}: {name}: expected a text in quotes")
    return ApiKey(_check_key(key, f"{place}: {name}"), name)
