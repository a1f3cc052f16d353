"""Read style sheets, and the values of their variables for SVG and figures."""

import re
from functools import cache
from pathlib import Path
from typing import Literal

Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, Scheme] = ("light", "dark")

_FOLDER = Path(__file__).parent
_TOKEN = re.compile(r"--([\w-]+):\s*([^;]+);")
_DARK = "@media screen and (prefers-color-scheme: dark)"
_COMMENT = re.compile(r"/\*.*?\*/\s*", re.DOTALL)


@cache
def read_sheet(name: str) -> str:
    """Read a style sheet of this folder, such as `tokens`, without its comments."""
    return _COMMENT.sub("", (_FOLDER / f"{name}.css").read_text(encoding="utf-8"))


@cache
def read_tokens(scheme: Scheme = "light") -> dict[str, str]:
    """Return the values of the tokens by name; those of `dark` include unchanged ones."""
    light, _, dark = read_sheet("tokens").partition(_DARK)
    tokens = dict(_TOKEN.findall(light))
    return tokens | dict(_TOKEN.findall(dark)) if scheme == "dark" else tokens
