"""Make `thread_before_renames.sqlite.gz`: a thread whose second layer failed, stored by 26eda85.

Run it with that version: `git worktree add old 26eda85 && PYTHONPATH=old python THIS FILE`.
"""

import gzip
import sqlite3
from contextlib import closing
from pathlib import Path

from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.sqlite import SqliteSaver

from moa_graph import QuorumError, create_moa

TARGET = Path(__file__).parent / "thread_before_renames.sqlite.gz"


def fail(_: object) -> str:
    raise ConnectionError("down")


layers = [{name: RunnableLambda(lambda _, n=name: f"from {n}") for name in "ab"}]
layers.append({"c": RunnableLambda(fail)})
moa = create_moa(layers, RunnableLambda(lambda _: "final"), references_in="user")
with closing(sqlite3.connect(":memory:", check_same_thread=False)) as connection:
    graph = moa.compile(checkpointer=SqliteSaver(connection))
    try:
        graph.invoke({"messages": "q"}, {"configurable": {"thread_id": "t"}})
    except QuorumError as error:
        print(error)
    TARGET.write_bytes(gzip.compress(connection.serialize(), mtime=0))
