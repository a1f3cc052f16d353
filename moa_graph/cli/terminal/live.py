"""How a run is shown while it goes on: a live view on a terminal, else lines."""

import sys

from moa_graph.cli.terminal.progress_view import LineView, ProgressView, SilenceView


def choose_view(*, show_progress: bool | None) -> type[ProgressView]:
    """Choose how a run is shown.

    Args:
        show_progress: Whether someone asked for it; by default it is shown on a terminal.
    """
    if show_progress is False:
        return ProgressView
    if not sys.stderr.isatty():
        return LineView if show_progress else SilenceView
    from moa_graph.cli.terminal.live_view import LiveView, supports_live_view

    return LiveView if supports_live_view() else LineView
