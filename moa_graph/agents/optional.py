"""`MoAMiddleware`, or a placeholder whose error names the missing package.

With the placeholder, `from moa_graph import *` works without LangChain's agents.
"""

from typing import Any

try:
    from moa_graph.agents.middleware import MoAMiddleware
except ModuleNotFoundError as missing:
    if (missing.name or "").partition(".")[0] != "langchain":
        raise

    class MoAMiddleware:  # type: ignore[no-redef]  # in its place
        """Placeholder for `MoAMiddleware`, because LangChain's agents are not installed."""

        def __init__(self, *_: Any, **__: Any) -> None:
            raise ImportError(
                "MoAMiddleware needs the package langchain: pip install 'moa_graph[agents]'"
            )


__all__ = ["MoAMiddleware"]
