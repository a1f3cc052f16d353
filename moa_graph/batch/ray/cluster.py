"""A cluster of Ray: the one that `RAY_ADDRESS` names, or one begun on this machine."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

for _name, _value in {  # Ray reads them when it is imported
    "RAY_USAGE_STATS_ENABLED": "0",  # a cluster that is begun here calls nobody
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # its log is in its own folder
    "RAY_ENABLE_AUTO_CONNECT": "0",  # what is interrupted does not connect again
}.items():
    os.environ.setdefault(_name, _value)

import ray  # noqa: E402
from ray.exceptions import RayError  # noqa: E402

from moa_graph.errors import MoAError  # noqa: E402
from moa_graph.redaction import redacted_message  # noqa: E402


class ClusterError(MoAError):
    """The cluster cannot be used, or has failed; the text explains it in full."""


@contextmanager
def cluster_connection() -> Iterator[None]:
    """Connect to the cluster, or begin one.

    Raises:
        ClusterError: If that fails, or what is done inside does.
    """
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    try:
        ray.init(
            # Without an address, Ray would take any cluster of this machine, whosever it is.
            address=os.environ.get("RAY_ADDRESS") or "local",
            log_to_driver=False,
            logging_level=logging.CRITICAL,
        )
    except Exception as error:  # noqa: BLE001  # it raises whatever comes its way
        raise ClusterError(f"there is no cluster to use: {redacted_message(error)}") from None
    with redirect_stdout(sys.stderr):  # Ray prints to it what it does about lost workers
        try:
            yield
        except RayError as error:
            raise ClusterError(redacted_message(getattr(error, "cause", None) or error)) from None
        finally:
            ray.shutdown()


def count_cpus() -> int:
    """Count the processors of the cluster."""
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return max(1, int(resources.get("CPU", 1)))
