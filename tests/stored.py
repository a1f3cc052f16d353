"""What the command line has stored so far."""

import os
import sqlite3
from contextlib import closing


def proposals_stored() -> int:
    """Count the proposals in its database."""
    with closing(sqlite3.connect(os.environ["MOA_DB"])) as database:
        counted = "SELECT count(*) FROM writes WHERE channel = 'proposals'"
        return database.execute(counted).fetchone()[0]
