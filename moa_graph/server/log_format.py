"""Formats of the server's log: text and JSON lines."""

import json
import logging
from datetime import UTC, datetime
from typing import Any, Literal

from moa_graph.server.request_record import FIELDS_ATTRIBUTE

LogFormat = Literal["text", "json"]


class TextFormatter(logging.Formatter):
    """Formats a record as a line of text with the time."""

    def __init__(self) -> None:
        super().__init__("moa: %(asctime)s %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802  # logging's name
        """Return the time of a record in UTC."""
        return _format_time(record)


class JsonFormatter(logging.Formatter):
    """Formats a record as a line with a JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record: its fields, or its text as `message`."""
        line: dict[str, Any] = {"time": _format_time(record), "level": record.levelname.lower()}
        fields = getattr(record, FIELDS_ATTRIBUTE, None)
        line |= fields or {"event": "message", "message": record.getMessage()}
        return json.dumps(line, ensure_ascii=False)


def create_formatter(log_format: LogFormat) -> logging.Formatter:
    """Create the formatter for a format."""
    return JsonFormatter() if log_format == "json" else TextFormatter()


def _format_time(record: logging.LogRecord) -> str:
    time = datetime.fromtimestamp(record.created, UTC)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
