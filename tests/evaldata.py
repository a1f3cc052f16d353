"""Published evaluation data, which are not part of the project.

They are looked for in the folder that `MOA_EVALDATA` names, or else beside the repository.
"""

import gzip
import json
import os
from pathlib import Path

import pytest

BESIDE = Path(__file__).parents[2] / "shared" / "evaldata"
FOLDER = Path(os.environ.get("MOA_EVALDATA") or BESIDE)

needs_evaldata = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="no published evaluation data: MOA_EVALDATA names no folder"
)


def read_lines(name):
    opened = gzip.open if name.endswith(".gz") else open
    with opened(FOLDER / name, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
