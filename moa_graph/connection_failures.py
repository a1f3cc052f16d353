"""Explain failed connections (host, port, certificate, proxy, timeout) and suggest fixes."""

import errno
import os
import socket
import ssl
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

_CONNECTION_ERRORS = {"APIConnectionError", "TransportError"}
"""Base classes of connection errors in HTTPX and in the clients of several providers."""
_OPERATION = "/chat/completions"
_OPENAI_HOST = "api.openai.com"
_UNREACHABLE = {errno.ENETUNREACH, errno.EHOSTUNREACH}
_UNKNOWN_AUTHORITY_ADVICE = "set SSL_CERT_FILE to a file with the certificate of its authority"
_CERTIFICATE_ADVICE = {  # by OpenSSL's X509_V_ERR_…
    9: "check the clock of this machine",  # not yet valid
    10: "its owner must renew it; also check the clock of this machine",  # expired
    62: "use the host name of the certificate",  # a host that does not match
    64: "use the host name of the certificate, not an IP address",
}
_NO_TLS = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST"}


def error_chain(error: BaseException) -> Iterator[BaseException]:
    """Return an error and its causes."""
    seen, pending = set[int](), [error]
    while pending:
        each = pending.pop()
        if id(each) not in seen:
            seen.add(id(each))
            yield each
            parts = each.exceptions if isinstance(each, BaseExceptionGroup) else ()
            pending += [part for part in (each.__cause__, each.__context__, *parts) if part]


def describe_connection_failure(error: BaseException) -> str | None:
    """Describe in one line which address failed, why, and how to fix it.

    Args:
        error: An exception of a client; its causes say more than its own text.

    Returns:
        The line; `None` for an error of another kind, or of a client that names no address.
    """
    if _CONNECTION_ERRORS.isdisjoint(_class_names(error)):
        return None
    chain = list(error_chain(error))
    url = next((requested for each in chain if (requested := _requested_url(each))), None)
    if url is None:
        return None
    parts = urlsplit(url)
    address = bare_address(url)
    if proxy := _find_proxy(parts):
        variable, proxy_host = proxy
        via = f"cannot reach {address} through the proxy {proxy_host} ({variable})"
        reason = _connect_reason(chain, f"check {variable}, or name the host in NO_PROXY")
    else:
        via = f"cannot reach {address}"
        reason = _connect_reason(chain, "check the address, and whether its server runs")
    if reason is None and "APITimeoutError" in _class_names(error):
        return f"no answer of {address} in time; a longer `timeout` waits longer"
    return f"{via}: {reason or _tls_reason(chain) or _broken_reason(chain) or _text_of(error)}"


def bare_address(url: str) -> str:
    """Return the server address of a URL, without a password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{_bare_host(parts)}{parts.path.removesuffix(_OPERATION)}"


def _connect_reason(chain: Sequence[BaseException], advice: str) -> str | None:
    """Describe why no connection was made, to the server or to its proxy."""
    names = {name for each in chain for name in _class_names(each)}
    if any(isinstance(each, socket.gaierror) for each in chain):
        return f"no such host; {advice}"
    if any(isinstance(each, ConnectionRefusedError) for each in chain):
        return f"connection refused; {advice}"
    if any(isinstance(each, OSError) and each.errno in _UNREACHABLE for each in chain):
        return "no route to this host; check the network"
    if names & {"ConnectTimeout", "ConnectionTimeoutError"}:
        return f"no connection in time; {advice}"
    return None


def _tls_reason(chain: Sequence[BaseException]) -> str | None:
    """Describe why the TLS handshake failed."""
    for each in (each for each in chain if type(each).__module__ == "ssl"):  # not of aiohttp
        if isinstance(each, ssl.SSLCertVerificationError):
            advice = _CERTIFICATE_ADVICE.get(each.verify_code, _UNKNOWN_AUTHORITY_ADVICE)
            reason = each.verify_message.removesuffix(".")
            return f"its certificate is not trusted ({reason}); {advice}"
        if isinstance(each, ssl.SSLError):
            is_plain = each.reason in _NO_TLS
            advice = "; write http:// instead of https:// if it is yours" if is_plain else ""
            return f"no secure connection ({each.reason or each}){advice}"
    return None


def _broken_reason(chain: Sequence[BaseException]) -> str | None:
    """Describe a connection that ended without a complete answer."""
    names = {name for each in chain for name in _class_names(each)}
    if "ProxyError" in names:
        return f"the proxy refused it ({_text_of(chain[-1])})"
    if "TooManyRedirects" in names:
        return "it redirects endlessly; check the address"
    if names & {"RemoteProtocolError", "ReadError", "WriteError"}:
        return (
            "the connection broke off before an answer was whole; check whether a model's server "
            "listens there, and whether by http:// or https://"
        )
    return None


def _find_proxy(parts: SplitResult) -> tuple[str, str] | None:
    """Return the variable and the host of the proxy for a URL, if there is one."""
    host = parts.hostname or ""
    if host.endswith(_OPENAI_HOST) and (proxy := os.environ.get("OPENAI_PROXY")):
        return "OPENAI_PROXY", _bare_host(urlsplit(proxy))
    proxies = getproxies()
    for scheme in (parts.scheme, "all"):
        if (proxy := proxies.get(scheme)) and not proxy_bypass(host):
            parsed = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
            return f"{scheme.upper()}_PROXY", _bare_host(parsed)
    return None


def _bare_host(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


def _requested_url(error: BaseException) -> str | None:
    try:
        request: Any = getattr(error, "request", None)
    except RuntimeError:  # HTTPX raises `RuntimeError` if an error has no request
        return None
    url = getattr(request, "url", None)
    return None if url is None else str(url)


def _class_names(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _text_of(error: BaseException) -> str:
    return str(error).removesuffix(".") or type(error).__name__
