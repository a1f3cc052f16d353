"""The package's exceptions have one base, and a failed proposer is logged."""

import asyncio
import importlib
import logging
import pkgutil
import time

import pytest
from langchain_core.runnables import RunnableLambda

import moa_graph
from moa_graph import MoAError, create_moa

KEY = "sk-abcdefgh12345678"


def refuse(_):
    raise PermissionError(f"401: wrong key {KEY}")


async def wait_async(_):
    await asyncio.Event().wait()


def warnings_of(caplog):
    records = [each for each in caplog.records if each.name == "moa_graph"]
    assert all(each.levelno == logging.WARNING for each in records)
    return [each.getMessage() for each in records]


def defined_exceptions():
    for module in pkgutil.walk_packages(moa_graph.__path__, "moa_graph."):
        if module.name != "moa_graph.__main__":
            for value in vars(importlib.import_module(module.name)).values():
                if isinstance(value, type) and issubclass(value, Exception):
                    yield value


@pytest.mark.slow
def test_every_exception_of_the_package_derives_from_one():
    own = {each for each in defined_exceptions() if each.__module__.startswith("moa_graph.")}
    assert {each for each in own if not issubclass(each, MoAError)} == set()
    assert {each for each in own if issubclass(each, RuntimeError)} == set()  # never retried
    assert len(own) > 10


def test_failed_proposer_is_one_warning_without_the_key(caplog):
    layer = {"good": "offline:lead", "bad": RunnableLambda(refuse)}
    create_moa([layer], "offline:consensus").compile().invoke({"messages": "Hi. Who?"})
    [warning] = warnings_of(caplog)
    assert "layer_1_bad" in warning
    assert "401" in warning
    assert KEY not in caplog.text


async def test_failed_proposer_is_one_warning_without_the_key_async(caplog):
    layer = {"good": "offline:lead", "bad": RunnableLambda(refuse)}
    await create_moa([layer], "offline:consensus").compile().ainvoke({"messages": "Hi. Who?"})
    [warning] = warnings_of(caplog)
    assert "layer_1_bad" in warning
    assert KEY not in caplog.text


async def test_proposer_that_is_cut_off_is_one_warning(caplog):
    layer = {"good": "offline:lead", "slow": RunnableLambda(lambda _: time.sleep(0), wait_async)}
    moa = create_moa([layer], "offline:consensus", deadline=0.2).compile()
    await moa.ainvoke({"messages": "Hi. Who?"})
    [warning] = warnings_of(caplog)
    assert "layer_1_slow" in warning
    assert "deadline" in warning
