"""A cluster of Ray: the one that `RAY_ADDRESS` names, or one begun on this machine."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

import ray
from ray.exceptions import RayError

from moa_graph.secrecy import describe

_DEFAULTS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # a cluster that is begun here calls nobody
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # its log is in its own folder
}


class ClusterError(RuntimeError):
    """The cluster cannot be used, or has failed; the text explains it in full."""


@contextmanager
def connected() -> Iterator[None]:
    """Connect to the cluster, or begin one.

    Raises:
        ClusterError: If that fails, or what is done inside does.
    """
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    try:
        ray.init(log_to_driver=False, logging_level=logging.CRITICAL)
    except Exception as error:  # noqa: BLE001  # it raises whatever comes its way
        raise ClusterError(f"there is no cluster to use: {describe(error)}") from None
    with redirect_stdout(sys.stderr):  # Ray prints to it what it does about lost workers
        try:
            yield
        except RayError as error:
            raise ClusterError(describe(getattr(error, "cause", None) or error)) from None
        finally:
            ray.shutdown()


def count_processors() -> int:
    """Count the processors of the cluster."""
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return max(1, int(resources.get("CPU", 1)))
