"""Show a running mixture: as a live view on a terminal, otherwise as lines."""

import sys

from moa_graph.cli.terminal.progress_view import LineView, ProgressView, SilenceView


def choose_view(*, show_progress: bool | None) -> type[ProgressView]:
    """Choose the view of a run.

    Args:
        show_progress: Whether to show progress; by default only on a terminal.
    """
    if show_progress is False:
        return ProgressView
    if not sys.stderr.isatty():
        return LineView if show_progress else SilenceView
    from moa_graph.cli.terminal.live_view import LiveView, supports_live_view

    return LiveView if supports_live_view() else LineView
