"""Stop early: a layer whose proposals agree is the last one that runs.

Real models: use "openai:gpt-6.1-terra" and others in the layers. `shadow=True` runs all layers and
records what an early stop would have saved.
"""

from moa_graph import agreement, create_moa

EASY = "When does the ferry leave? The ferry leaves at nine."
HARD = """Who decides when the ferry leaves?

The lake is deep. In winter the captain decides, if there is ice, when the ferry leaves. The ferry
belongs to the town. The council of the town decides on fares."""

layer = {"lead": "offline:lead", "bm25": "offline:bm25", "mmr": "offline:mmr"}
moa = create_moa([layer] * 3, "offline:consensus", early_stop=agreement(0.9)).compile()

if __name__ == "__main__":
    for question in (EASY, HARD):
        answer = moa.invoke({"messages": question})["messages"][-1]
        summary = answer.response_metadata["moa"]
        depth, agreed = summary["depth"], summary["agreement"]
        print(f"{depth['layers']} of {depth['of']} layers ({depth['why']}): {answer.text}")
        for dissent in agreed["dissent"]:
            print(f"  {', '.join(dissent['nodes'])}: {dissent['claim']}")
