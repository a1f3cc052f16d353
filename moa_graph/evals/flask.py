"""Public functions of FLASK: scores from a judge's review, and their means."""

from moa_graph.evals.benchmarks.flask.score import (
    SKILLS,
    SKILLS_ASKED,
    UNLABELLED,
    FlaskScore,
    Scores,
    flask_score,
    parse_review,
)

__all__ = [
    "SKILLS",
    "SKILLS_ASKED",
    "UNLABELLED",
    "FlaskScore",
    "Scores",
    "flask_score",
    "parse_review",
]
