"""Write files as a whole."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def replaced_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file whose content takes the place of another's at the end of the `with` block.

    Whoever reads `path` finds the old content or the new one, whole, also after a kill or a loss
    of power. If the block raises, the old content stays.

    Args:
        path: The file; its folder must exist.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8, as a whole."""
    with replaced_file(path) as file:
        file.write(text.encode("utf-8"))
