"""Save a conversation as Markdown or JSON."""

import json
from pathlib import Path

from moa_graph.cli.errors import CommandError
from moa_graph.runs.stored_threads import StoredThread

ROLE_HEADINGS = {"human": "Question", "ai": "Answer"}


def save_transcript(name: str, thread: StoredThread, *, force: bool = False) -> Path:
    """Write a conversation as JSON if the name ends in `.json`, otherwise as Markdown.

    Raises:
        CommandError: If the file already exists, or cannot be written.
    """
    path = Path(name).expanduser()
    text = _as_json(thread) if path.suffix == ".json" else _as_markdown(thread)
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise CommandError(
            f"{path} already exists; choose another name, or: /save {name} --force"
        ) from None
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from None
    return path


def _as_markdown(thread: StoredThread) -> str:
    parts = [f"# Thread {thread.id}"]
    for message in thread.messages:
        parts += [f"## {ROLE_HEADINGS.get(message.type, message.type)}", message.text.strip()]
    return "\n\n".join(parts) + "\n"


def _as_json(thread: StoredThread) -> str:
    document = {
        "thread": thread.id,
        "mixture": thread.config.name if thread.config else None,
        "messages": [{"role": each.type, "content": each.content} for each in thread.messages],
    }
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"
