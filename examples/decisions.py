"""Ways from proposals to an answer: a vote, windows, an analysis, and partial readers.

Real models: use any names in the layer. The node `analysis` then needs no function.
"""

import json

from langchain_core.runnables import RunnableLambda

from moa_graph import create_moa

TEXT = """When does the ferry leave?

The ferry leaves at six. In May the ferry leaves at eight. Bring coffee for the ferry."""

layer = {"lead": "offline:lead", "words": "offline:bm25", "letters": "offline:ngram"}
compare = RunnableLambda(
    lambda _: json.dumps({"consensus": ["A ferry leaves."], "blind_spots": ["On Sundays?"]})
)
ways = {
    "vote": {"aggregation": "vote"},
    "windows": {"aggregation": "sequential", "references_per_window": 2},
    "analysis": {"analysis": compare},
    "in part": {"references_per_reader": 2, "order": "shuffled"},
}

if __name__ == "__main__":
    for name, options in ways.items():
        moa = create_moa([layer, layer], "offline:consensus", **options).compile()
        result = moa.invoke({"messages": TEXT})
        told = result["messages"][-1].response_metadata["moa"]
        print(f"{name}: {result['messages'][-1].text}")
        if "vote" in told:
            print("  ranking:", told["vote"]["ranking"])
        for node in {"window_1", "analysis"} & result["proposals"].keys():
            print(f"  {node}: {result['proposals'][node]['content']}")
        print("  layer_2_lead read:", result["proposals"]["layer_2_lead"].get("references_read"))
