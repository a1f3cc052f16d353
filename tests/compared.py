"""Comparisons for tests: a plan over models of the local server."""

import json

ROWS = [
    {"instruction": f"Question {n}? The answer is {n}.", "output": f"It is {n}."} for n in range(20)
]


def write_plan(folder, server, *, limit=20, more=""):
    """Write a plan: mixtures that share calls, their variants, and a judge that gives logprobs."""
    models = ("a", "b", "w")
    agents = "".join(
        f'{name} = {{ model = "openai:{name}", base_url = "{server.url}", max_retries = 0, '
        f"max_tokens = 100 }}\n"
        for name in models
    )
    (folder / "mixture.toml").write_text(
        f'layers = [["a", "b"], ["a", "b"]]\naggregator = "w"\n[agents]\n{agents}'
    )
    (folder / "judge.toml").write_text(
        f'model = "openai:judge"\nbase_url = "{server.url}"\nmax_retries = 0\n'
    )
    (folder / "lite.toml").write_text(
        f'layers = [["a", "b"]]\naggregator = "a"\n[agents]\n{agents}'
    )
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    (folder / "questions.jsonl").write_text(lines)
    recorded = [{"instruction": r["instruction"], "output": "It was written."} for r in ROWS]
    (folder / "recorded.json").write_text(json.dumps(recorded))
    prices = "".join(f'"openai:{name}" = [1, 1]\n' for name in (*models, "judge"))
    (folder / "plan.toml").write_text(f"""
        judge = "judge.toml"
        concurrency = 3
        correlation = ["deep"]
        [systems]
        deep = "mixture.toml"
        lite = "lite.toml"
        written = "recorded:recorded.json"
        quoting = "offline:lead"
        [[variants]]
        of = "deep"
        analyses = ["depth", "ranker"]
        [[benchmarks]]
        name = "questions.jsonl"
        builtin_prompt = true
        limit = {limit}
        {more}
        [prices]
        {prices}
    """)
    return folder / "plan.toml"
