"""The first jobs of many tell whether any can succeed."""

import asyncio

import pytest

from moa_graph.evals.probing import PROBES, AllFailedError, ProbedWork


async def test_no_other_job_begins_between_the_last_failure_and_the_check():
    begun = []

    async def fail(item):
        begun.append(item)
        raise ValueError("refused")

    probed = ProbedWork(fail)
    jobs = [asyncio.create_task(probed.run(item)) for item in range(PROBES + 2)]
    await asyncio.wait(jobs[:PROBES])
    for _ in range(10):
        await asyncio.sleep(0)
    assert begun == [*range(PROBES)]
    with pytest.raises(AllFailedError, match="refused"):
        probed.check()
    for job in jobs[PROBES:]:
        job.cancel()
    ends = await asyncio.gather(*jobs, return_exceptions=True)
    assert [type(end) for end in ends] == [ValueError] * PROBES + [asyncio.CancelledError] * 2
