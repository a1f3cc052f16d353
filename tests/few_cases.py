"""The option `--few-cases`: of each test with parameters, the first case and the last one are run.

It is for runs that ask about other packages, not about ours.
"""

from itertools import groupby

import pytest


def choose_few(names):
    """Choose of each test, in a list of tests with their cases, the places of two cases."""
    chosen = set()
    for _, places in groupby(range(len(names)), key=lambda place: names[place].partition("[")[0]):
        first, *others = places
        chosen |= {first, *others[-1:]}
    return chosen


def pytest_addoption(parser):
    told = "of each test with parameters, run the first case and the last one"
    parser.addoption("--few-cases", action="store_true", help=told)


@pytest.hookimpl(trylast=True)  # behind `-m`
def pytest_collection_modifyitems(config, items):
    if config.getoption("--few-cases"):
        chosen = choose_few([item.nodeid for item in items])
        left_out = [item for place, item in enumerate(items) if place not in chosen]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for place, item in enumerate(items) if place in chosen]
