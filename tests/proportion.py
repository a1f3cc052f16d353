"""Whether what a text takes is in proportion to its length: on a busy machine, too."""

from collections.abc import Callable

MOST = 30  # times as long, for ten times the text: in proportion is 10, the square is 100
TRIES = 5  # of a busy machine; fewer where each takes a second


def growth(
    seconds: Callable[[int], float], small: int, large: int, noise: float
) -> tuple[float, float]:
    """Measure what two texts take at least.

    Args:
        seconds: Tells what a text of so many characters takes: of a processor, not of a clock.
        small: Characters of a text.
        large: Characters of another one.
        noise: What takes less is taken to take as long.

    Returns:
        How many times as long the larger one takes, and how long.
    """
    least, tries = [float("inf")] * 2, TRIES
    while True:
        least = [min(each, seconds(size)) for each, size in zip(least, (small, large), strict=True)]
        times = least[1] / max(least[0], noise)
        tries -= 1 if least[1] < 1 else TRIES // 2
        if times < MOST or tries <= 0:
            return times, least[1]
