# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "lm-eval[api]>=0.4.9",
# ]
# ///
"""lm-eval: the model of its chat completions."""

import probe
from lm_eval.api.instance import Instance
from lm_eval.models.openai_completions import LocalChatCompletion


def plain() -> None:
    model = LocalChatCompletion(
        base_url=f"{probe.BASE_URL}/chat/completions", model=probe.MODEL, eos_string=""
    )
    prompt = model.apply_chat_template([{"role": "user", "content": probe.QUESTION}])
    request = Instance("generate_until", {}, (prompt, {"max_gen_toks": 100, "until": ["##"]}), 0)
    probe.expect_answer(model.generate_until([request], disable_tqdm=True)[0])


probe.run(plain)
