"""Checks of addresses and keys before the first call."""

import re
import unicodedata
from ipaddress import IPv4Address
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

_EXAMPLE_URL = "'http://localhost:11434/v1'"
_MAX_HOST_CHARS, _MAX_LABEL_CHARS = 253, 63  # RFC 1035
_OPERATION_PATH = re.compile(
    r"/(chat/completions|completions|responses|embeddings|messages|api/chat|api/generate)/*$"
)
_QUOTES = frozenset("\"'`\u2018\u2019\u201c\u201d")
_FORBIDDEN_IN_URL = _QUOTES | frozenset("<>{}|\\^#")
_SECRET_PARAMETER = re.compile(
    r"[?&;#]([\w.-]{0,40}(?:key|token|secret|password|signature|sig|credential)s?)=[^&]",
    re.IGNORECASE,
)
_AUTHORITY = re.compile(r"://([^/?#\s]*)(\S*)")
_PORT = re.compile(r"(\[[^\]]*\]|[^:]*)(:\d*)?")
_PLACEHOLDER = re.compile(
    r".*(\.\.\.|…).*|<.*>|\$\{?\w+\}?|\{+\w+\}+|(\w{1,6}-)*[x*]{3,}"
    r"|(\w{1,6}-)?(your|my|insert|replace|enter|paste)[-_]?(\w{1,20}[-_]){0,3}"
    r"(key|token|secret|here|me)([-_]?(here|goes[-_]here))?|change[-_]?me|todo|placeholder",
    re.IGNORECASE,
)


def check_base_url(url: str) -> None:
    """Check that a URL is a valid server address. Errors do not repeat a password in it.

    Raises:
        ValueError: If it is not; the message names the fault and the fix.
    """
    parts, port = _split_url(url)
    if has_login(url):
        raise ValueError("expected a URL without a password; name its variable in api_key_env")
    if name := find_secret_parameter(url):
        raise ValueError(
            f"expected a URL without a key, got one in its parameter {name!r}; addresses are "
            "stored and shown: name the key's variable in api_key_env"
        )
    if any(each in _FORBIDDEN_IN_URL or _is_control_or_separator(each) for each in url):
        raise ValueError(
            f"expected a URL without spaces, line breaks, quotes, brackets and '#', such as "
            f"{_EXAMPLE_URL}, got {url!r}"
        )
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.startswith("//"):
        hint = f"; did you mean 'http://{url}'?" if _lacks_scheme(url) else ""
        raise ValueError(f"expected a URL, such as {_EXAMPLE_URL}, got {url!r}{hint}")
    if port == 0 or not _is_host(parts.hostname):
        raise ValueError(f"expected a URL with a valid host and port, got {url!r}")
    _check_path(parts)


def extend_url(url: str, path: str) -> str:
    """Append to the path of a URL, before its parameters."""
    parts = urlsplit(url)
    return parts._replace(path=f"{parts.path.rstrip('/')}{path}").geturl()


def split_parameters(url: str) -> tuple[str, dict[str, str]]:
    """Split a URL into the part before its parameters, and the parameters."""
    parts = urlsplit(url)
    return parts._replace(query="").geturl(), dict(parse_qsl(parts.query, keep_blank_values=True))


def find_secret_parameter(url: str) -> str | None:
    """Return the name of a URL parameter that contains a key or password, if there is one."""
    match = _SECRET_PARAMETER.search(unquote(url))
    return match[1] if match else None


def has_login(text: str) -> bool:
    """Return whether a text contains a URL with a user name or password."""
    return any(
        "@" in authority or ("@" in rest and not _PORT.fullmatch(authority))
        for authority, rest in _AUTHORITY.findall(text)  # a password may contain `/`
    )


def _split_url(url: str) -> tuple[SplitResult, int | None]:
    """Return the parts of a URL and its port, without parts that may contain a password."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # invalid IPv6 brackets or port
        if "@" not in url:
            raise ValueError(f"expected a URL with a valid host and port, got {url!r}") from None
        return urlsplit(""), None
    return parts, port


def check_api_key(name: str, key: str) -> None:
    """Check that an API key is plausible. Errors do not repeat it.

    Args:
        name: Its source: an environment variable or a field.
        key: The key.

    Raises:
        ValueError: If it is not; the message names the fault.
    """
    if reason := _find_fault(name, key):
        raise ValueError(f"{name} is not a valid key: {reason}")


def _find_fault(name: str, key: str) -> str | None:
    faults = {
        "it is in quotes; remove them (docker's --env-file keeps them)": (
            key[:1] in _QUOTES or key[-1:] in _QUOTES
        ),
        "it begins with 'Bearer', which is added to each request; remove that word": (
            key.lower().startswith("bearer ")
        ),
        "it begins or ends with a space or a line break; remove it": key != key.strip(),
        "it begins with the name of the variable; use only the part after '='": (
            key.startswith((f"{name}=", "export "))
        ),
        "it is a placeholder from an example; replace it by the key of the provider": (
            _PLACEHOLDER.fullmatch(key)
        ),
        "it contains a space, a line break or another invisible character": (
            any(map(_is_control_or_separator, key))
        ),
        "it contains a character that is not ASCII; copy it again from the provider": (
            not key.isascii()
        ),
    }
    return next((reason for reason, is_found in faults.items() if is_found), None)


def _is_control_or_separator(character: str) -> bool:
    return unicodedata.category(character)[0] in "CZ"


def _lacks_scheme(url: str) -> bool:
    return bool(re.fullmatch(r"[\w.-]+(:\d{1,5})?(/[\w./-]*)?", url))


def _is_host(host: str) -> bool:
    if ":" in host:  # an IPv6 address, checked by `urlsplit`
        return True
    labels = host.removesuffix(".").split(".")
    if labels[-1].isdecimal() and not _is_ipv4_address(host):
        return False
    has_length = all(0 < len(label) <= _MAX_LABEL_CHARS for label in labels)
    return has_length and len(host) <= _MAX_HOST_CHARS and "%" not in host


def _is_ipv4_address(host: str) -> bool:
    try:
        return bool(IPv4Address(host))
    except ValueError:
        return False


def _check_path(parts: SplitResult) -> None:
    if match := _OPERATION_PATH.search(parts.path):
        base = parts._replace(path=parts.path[: match.start()], query="").geturl()
        raise ValueError(
            f"expected the part of the URL before {match[0]!r}, which each call adds by itself: "
            f"write {base!r}, got {parts.geturl()!r}"
        )
