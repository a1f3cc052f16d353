"""Errors of options and keys: their location, and the accepted names and values."""

import re
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from inspect import Parameter, Signature
from typing import Any, ClassVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

MAX_MISTAKES = 5
"""Number of mistakes that one error lists."""

MIN_PREFIX_CHARS = 3
"""Length from which a name may stand for a longer one, as `temp` for `temperature`."""

UNION_TAG = "[member]"
"""Tag of the members of a union, which locations omit."""

AcceptedNames = Callable[[str], Iterable[str]]
"""Returns the names that are accepted at a location."""


class PlainErrors:
    """A pydantic model whose constructor raises a `ValueError` that says what is accepted.

    `model_validate` still raises pydantic's `ValidationError`, which holds the location.
    """

    positional_hint: ClassVar[str]
    """A correct call, for an error about an argument without a name."""

    def __init__(self, /, *args: Any, **options: Any) -> None:
        """Create the model from its options."""
        name = type(self).__name__
        if args:
            raise TypeError(
                f"{name}() takes each option by its name, as in {self.positional_hint}; got "
                f"{args[0]!r} without a name"
            )
        try:
            super().__init__(**options)
        except ValidationError as error:
            raise ValueError(f"{name}(): {self.describe_errors(error)}") from None

    # The signature of a model is that of its constructor and its fields, without `*args`. The flag
    # is that of pydantic's own constructor: nested models are validated without a call of it.
    __init__.__signature__ = Signature(  # type: ignore[attr-defined]
        [Parameter("self", Parameter.POSITIONAL_ONLY), Parameter("options", Parameter.VAR_KEYWORD)]
    )
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @classmethod
    def describe_errors(cls, error: ValidationError) -> str:
        """Describe what is wrong with the options of a constructor."""
        raise NotImplementedError


def describe_option_errors(error: ValidationError, names: Iterable[str]) -> str:
    """Describe the invalid options of a constructor that accepts some names."""
    names = list(names)
    mistakes = list_mistakes(error, lambda _: names)
    brief = len(mistakes) > 1
    return join_mistakes([_describe_option_error(each, names, brief) for each in mistakes])


def _describe_option_error(mistake: ErrorDetails, names: Sequence[str], brief: bool) -> str:  # noqa: FBT001
    location, message = format_location(mistake), describe_expected(mistake["msg"])
    match mistake["type"]:
        case "extra_forbidden":  # omit the value, which may be a key
            unknown = describe_unknown_name("option", location, names, brief=brief)
            return f"`{location}`: {unknown}"
        case "missing":
            return f"`{location}`: required, but missing"
        case "value_error":
            return f"`{location}`: {message}" if location else message
    return f"`{location}`={mistake['input']!r}: {message}"


def describe_unknown_name(kind: str, name: str, names: Sequence[str], *, brief: bool) -> str:
    """Describe what is accepted instead of an unknown name: a near one, and all unless `brief`."""
    suggestion = suggest_name(name, names)
    accepted = "" if brief and suggestion else f"; expected one of: {', '.join(names)}"
    return f"unknown {kind}{suggestion}{accepted}"


def describe_expected(message: str) -> str:
    """Return a message of pydantic in the words of this package: what is expected."""
    if message.startswith("Value error, "):
        return message.removeprefix("Value error, ")
    message = message.replace("Input should be", "expected")
    message = re.sub(r"^expected (?=greater|less|a multiple)", "expected a number ", message)
    message = re.sub(r"\ba valid (?=[aeiou])", "an ", message).replace("a valid ", "a ")
    return f"{message[0].lower()}{message[1:]}"


def list_mistakes(error: ValidationError, accepted_names: AcceptedNames) -> list[ErrorDetails]:
    """Return the first error of each location, without names that are missing but misspelt."""
    mistakes = dict[str, ErrorDetails]()
    for mistake in error.errors(include_url=False):
        mistakes.setdefault(format_location(mistake), mistake)
    misspelt = set[str]()
    for location, mistake in mistakes.items():
        if mistake["type"] == "extra_forbidden":
            name = str(mistake["loc"][-1])
            close = find_near_name(name, accepted_names(location))
            misspelt.add(f"{location.removesuffix(name)}{close}")
    return [
        mistake
        for location, mistake in mistakes.items()
        if mistake["type"] != "missing" or location not in misspelt
    ]


def format_location(mistake: ErrorDetails) -> str:
    """Return the location of an error, such as `layers[0].lead.temperature`."""
    parts = [f"[{part}]" if isinstance(part, int) else str(part) for part in mistake["loc"]]
    location = "".join(part if part.startswith("[") else f".{part}" for part in parts)
    branch = r"(\[key\]|\.int|\.float|\.list\[.*|\.json-or-python\[.*)$"  # member of a union
    location = re.sub(branch, "", location.removeprefix("."), flags=re.DOTALL)
    return location.replace(UNION_TAG, "")


def join_mistakes(mistakes: Sequence[str]) -> str:
    """Return one mistake as it is, and several as a numbered list of limited length.

    The list is readable in one line too, which is how the command line prints errors.
    """
    if len(mistakes) == 1:
        return mistakes[0]
    lines = [f"({number}) {each}" for number, each in enumerate(mistakes[:MAX_MISTAKES], 1)]
    if len(mistakes) > MAX_MISTAKES:
        lines.append(f"and {len(mistakes) - MAX_MISTAKES} more")
    return f"{len(mistakes)} mistakes:\n  " + ";\n  ".join(lines)


def suggest_name(name: str, names: Iterable[str]) -> str:
    """Return a question for the known name closest to an unknown one; empty if none is close."""
    close = find_near_name(name, names)
    return f" (did you mean {close!r}?)" if close else ""


def find_near_name(name: str, names: Iterable[str]) -> str | None:
    """Return the known name that is close to an unknown one, or that begins with it."""
    names = list(names)
    if close := get_close_matches(name, names, 1, cutoff=0.7):
        return close[0]
    longer = [each for each in names if each.startswith(name)]
    return min(longer, key=len, default=None) if len(name) >= MIN_PREFIX_CHARS else None
