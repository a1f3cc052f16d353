# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "dspy>=3",
# ]
# ///
"""DSPy: a prediction is structured by its own prompt."""

import dspy
import probe

model = dspy.LM(f"openai/{probe.MODEL}", api_base=probe.BASE_URL, api_key=probe.KEY, cache=False)


def plain() -> None:
    probe.expect_answer(model(probe.QUESTION)[0])


probe.run(plain)
