"""Models of known truth: how often they are right, and how much their errors go together.

`simulated:p=0.7,rho=0.3` answers `Question 17: …` rightly with chance 0.7. What makes a question
hard is the same for all models: errors of two models have a latent (tetrachoric) correlation of
`rho`. `simulated:pick=0.9` is an aggregator: it reads the references, and with chance 0.9 finds a
right one where there is one; else it takes the first wrong one. `simulated:any` takes one of the
references, each with the same chance.

The truth of a question is a digit. Everything is drawn from the question and a seed; the calls of a
model for a question are numbered, so that its samples differ.
"""

import math
import random
import re
from collections import Counter
from threading import Lock

import numpy as np
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from scipy.stats import multivariate_normal, norm

from moa_graph.models.in_process import InProcessModel
from moa_graph.models.offline_material import find_candidate_responses
from moa_graph.models.providers import Provider

DIGITS = 10
_QUESTION = re.compile(r"Question (\d+):")
_ANSWER = re.compile(r"The answer is (\d)\.")
_LOCK = Lock()
_calls = Counter()


def question(number):
    return f"Question {number}: which digit?"


def truth(number):
    return random.Random(f"truth {number}").randrange(DIGITS)


def reset():
    """Begin to number the calls anew."""
    _calls.clear()


def is_right(p, rho, number, rng):
    shared = random.Random(f"hardness {number}").gauss(0, 1)
    own = rng.gauss(0, 1)
    return math.sqrt(rho) * shared + math.sqrt(1 - rho) * own < norm.ppf(p)


class SimulatedModel(InProcessModel):
    model: str

    @property
    def _llm_type(self):
        return "simulated"

    def _build_message(self, messages: list[BaseMessage]) -> AIMessage:
        text = "\n".join(message.text for message in messages)
        number = int(_QUESTION.findall(text)[-1])
        with _LOCK:
            _calls[self.model, number] += 1
            rng = random.Random(f"{self.model} {number} {_calls[self.model, number]}")
        references = [int(each) for each in _ANSWER.findall(text)]
        answer = self._answer(number, references, rng)
        content = f"The answer is {answer}."
        if responses := find_candidate_responses(messages):
            content = str(1 + [content in each for each in responses].index(True))
        read, written = len(text.split()), len(content.split())
        usage = UsageMetadata(input_tokens=read, output_tokens=written, total_tokens=read + written)
        metadata = {"finish_reason": "stop"}
        return AIMessage(content, usage_metadata=usage, response_metadata=metadata)

    def _answer(self, number, references, rng):
        options = dict(part.partition("=")[::2] for part in self.model.split(","))
        right = truth(number)
        if "any" in options and references:
            return rng.choice(references)
        if "pick" in options and references:
            knows = right in references and rng.random() < float(options["pick"])
            return right if knows else next((r for r in references if r != right), references[0])
        p, rho = float(options.get("p", 0.5)), float(options.get("rho", 0))
        if is_right(p, rho, number, rng):
            return right
        return (right + rng.randrange(1, DIGITS)) % DIGITS


SIMULATED = Provider(name="simulated", build=SimulatedModel, options=())


def all_wrong(ps, rho, points=4001):
    """Give the chance that all are wrong, by integrating over how hard a question is."""
    z = np.linspace(-8, 8, points)
    wrong = [1 - norm.cdf((norm.ppf(p) - math.sqrt(rho) * z) / math.sqrt(1 - rho)) for p in ps]
    return float(np.trapezoid(np.prod(wrong, axis=0) * norm.pdf(z), z))


def picked(pick, ps, rho):
    """Give the chance that the aggregator `pick` is right: it misses only where one is wrong."""
    all_right = all_wrong([1 - p for p in ps], rho)
    return pick * (1 - all_wrong(ps, rho)) + (1 - pick) * all_right


def error_correlation(p, q, rho):
    """Give the correlation (phi) of the errors of two models."""
    both_right = multivariate_normal([0, 0], [[1, rho], [rho, 1]]).cdf([norm.ppf(p), norm.ppf(q)])
    return float((both_right - p * q) / math.sqrt(p * (1 - p) * q * (1 - q)))


def draw_answers(ps, rho, count, seed=0):
    """Draw right and wrong of several models for many questions, without a graph."""
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal((1, count))
    own = rng.standard_normal((len(ps), count))
    latent = math.sqrt(rho) * shared + math.sqrt(1 - rho) * own
    right = latent < norm.ppf(np.array(ps))[:, None]
    wrong = rng.integers(1, DIGITS, right.shape)
    return np.where(right, 0, wrong)  # 0 stands for the truth
