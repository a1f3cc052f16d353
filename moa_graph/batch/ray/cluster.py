"""Connect to the Ray cluster of `RAY_ADDRESS`, or start one on this machine."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

for _name, _value in {  # read by Ray at import
    "RAY_USAGE_STATS_ENABLED": "0",  # no usage statistics
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # Ray logs to its own folder
    "RAY_ENABLE_AUTO_CONNECT": "0",  # no reconnection after an interruption
}.items():
    os.environ.setdefault(_name, _value)

import ray  # noqa: E402
from ray.exceptions import RayError  # noqa: E402

from moa_graph.errors import MoAError  # noqa: E402
from moa_graph.redaction import redacted_message  # noqa: E402


class ClusterError(MoAError):
    """The cluster is not usable or has failed; the message explains it completely."""


@contextmanager
def cluster_connection() -> Iterator[None]:
    """Connect to the cluster, or start one.

    Raises:
        ClusterError: If that fails, or the block fails because of the cluster.
    """
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    try:
        ray.init(
            # Without an address, Ray would use any cluster of this machine, also another user's.
            address=os.environ.get("RAY_ADDRESS") or "local",
            log_to_driver=False,
            logging_level=logging.CRITICAL,
        )
    except Exception as error:  # noqa: BLE001  # it raises whatever comes its way
        raise ClusterError(f"there is no cluster to use: {redacted_message(error)}") from None
    with redirect_stdout(sys.stderr):  # Ray prints notes about lost workers there
        try:
            yield
        except RayError as error:
            raise ClusterError(redacted_message(getattr(error, "cause", None) or error)) from None
        finally:
            ray.shutdown()


def count_cpus() -> int:
    """Return the number of processors of the cluster."""
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return max(1, int(resources.get("CPU", 1)))
