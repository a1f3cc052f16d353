"""`OriginPolicy`: allowed hosts and origins of requests."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

ANY = "*"
API_PREFIX = "/v1/"
"""Path prefixes for pages of other sites; the API of the page is only for the page itself."""


@dataclass(frozen=True)
class OriginPolicy:
    """Names of the server, and allowed origins of pages."""

    hosts: frozenset[str] = frozenset()
    """Names besides `localhost` and addresses."""
    allowed_hosts: frozenset[str] = frozenset()
    """Names set by the operator: `moa`, `moa.example.org:8443`, `*.local`, or `*`."""
    origins: frozenset[str] = frozenset()
    """Origins of allowed pages of other sites, or `*`."""

    def knows_host(self, host: str) -> bool:
        """Return whether a `Host` is a name of this server or an address."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name == "localhost" or name in self.hosts or _is_address(name):
            return True
        patterns = (each.partition(":")[0] for each in self.allowed_hosts)
        return bool(name) and any(_matches(name, pattern) for pattern in patterns)

    def is_own_origin(self, origin: str, host: str, fetch_site: str) -> bool:
        """Return whether an origin is that of the server's own page.

        Behind a proxy, `Host` may differ from the address of the page. In that case, the browser
        must report the same site, or the operator must have allowed the page's host.
        """
        page_host = origin.partition("://")[2]
        return page_host in {host, *self.allowed_hosts} or fetch_site == "same-origin"

    def lets_in(self, origin: str | None, path: str) -> bool:
        """Return whether a page of another site may use a path."""
        return (
            origin is not None
            and path.startswith(API_PREFIX)
            and (origin in self.origins or ANY in self.origins)
        )


def read_origin_policy(
    hosts: Iterable[str] = (), allowed_hosts: Iterable[str] = (), origins: Iterable[str] = ()
) -> OriginPolicy:
    """Parse allowed hosts and origins.

    Raises:
        ValueError: If one is invalid.
    """
    return OriginPolicy(
        frozenset(each.lower() for each in hosts),
        frozenset(map(_read_host, allowed_hosts)),
        frozenset(map(_read_origin, origins)),
    )


def _read_host(text: str) -> str:
    host = text.strip().lower()
    name = host.removeprefix("*.")
    if host != ANY and (not name or any(c in name for c in "/*@?# ")):
        raise ValueError(
            f"expected a name such as 'moa', 'moa.example.org', '*.local', or '*' for any, "
            f"got {text!r}"
        )
    return host


def _read_origin(text: str) -> str:
    origin = text.strip().lower().removesuffix("/")
    scheme, separator, host = origin.partition("://")
    is_origin = scheme and separator and host and not any(c in host for c in "/*@?# ")
    if origin not in {ANY, "null"} and not is_origin:
        raise ValueError(
            f"expected an origin such as 'https://chat.example.org', 'http://localhost:3000', "
            f"'app://obsidian.md', 'null', or '*' for any, got {text!r}"
        )
    return origin


def _matches(name: str, pattern: str) -> bool:
    is_suffix = pattern.startswith("*.") and name.endswith(pattern[1:])
    return is_suffix or pattern in {name, ANY}


def _is_address(name: str) -> bool:
    try:
        return bool(ip_address(name))
    except ValueError:
        return False
