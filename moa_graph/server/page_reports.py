"""Reports for the page, at addresses that expire and need no key."""

import secrets
from collections import OrderedDict
from time import monotonic

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from moa_graph.run_report.report import report
from moa_graph.server.assets import PAGE_HEADERS
from moa_graph.server.auth import REPORT_PREFIX
from moa_graph.server.checkpoints import CheckpointHistory, CheckpointView

MAX_REPORTS = 16
GOOD_FOR_S = 600.0

REPORT_HEADERS = PAGE_HEADERS | {
    "content-security-policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "sandbox allow-popups allow-popups-to-escape-sandbox"
    ),
    "cache-control": "no-store",
}
"""Reports contain their styles and no scripts, so that text of models cannot execute."""


class ReportAddresses:
    """The last requested reports, by addresses that cannot be guessed."""

    def __init__(self) -> None:
        self._reports = OrderedDict[str, tuple[float, str]]()

    def keep(self, page: str) -> str:
        """Store a report for a while, and return its address, relative to the page."""
        name = secrets.token_urlsafe(24)
        self._reports[name] = monotonic() + GOOD_FOR_S, page
        if len(self._reports) > MAX_REPORTS:
            self._reports.popitem(last=False)
        return f"{REPORT_PREFIX.lstrip('/')}{name}"

    def forget(self) -> None:
        """Delete all of them."""
        self._reports.clear()

    async def get_report(self, request: Request) -> Response:
        """Show a report."""
        expiry, page = self._reports.get(request.path_params["name"], (0.0, ""))
        if expiry < monotonic():
            message = "This address has expired: open the report from the page again."
            return PlainTextResponse(message, 404, headers={"cache-control": "no-store"})
        return report_response(page)


def write_report(step: CheckpointView, history: CheckpointHistory) -> str:
    """Return the turn of a checkpoint as an HTML page."""
    snapshots = [each.snapshot for each in history.ancestors_of(step)]
    return report(step.values, step.graph, history=snapshots, prices=step.mixture.prices)


def report_response(page: str) -> Response:
    """Return a report with headers that block scripts and requests."""
    return Response(page, media_type="text/html", headers=REPORT_HEADERS)
