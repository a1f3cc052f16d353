"""What the server reads and sends, as Python has it."""

from typing import Any

JsonObject = dict[str, Any]
