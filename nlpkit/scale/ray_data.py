"""Work on the machines of a Ray cluster, streamed by Ray Data."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import Any

from nlpkit.extras import install_hint
from nlpkit.scale.engines import Item, Make, Result
from nlpkit.scale.file_parts import FileParts


class RayData:
    """Work on files by Ray Data: each is read where there is room, and parts are shared out among workers.

    A worker that is killed is started anew, and its parts are worked on again; reading waits while results do. Answers
    come in order, and each part's is that of one process.

    Args:
        workers: processes of one core each; by default as many as the cluster has cores.
        address: of a cluster; by default that in ``RAY_ADDRESS``, or else this machine alone, until the program ends.

    Raises:
        ImportError: Ray is not installed; the message says how to get it.
        ValueError: ``workers`` is below 1.

    Note:
        All machines must see the files under the same names, and have nlpkit installed. Starting a cluster and loading
        models in its workers takes far longer than a small file does here. This process reads all texts, too, to pair
        them with their results.

    Example:
        >>> RayData(workers=2).map([["no files"]], lambda: len)
        Traceback (most recent call last):
        TypeError: Ray's workers read files for themselves; give texts as TextFiles([...]), not a list
    """

    def __init__(self, workers: int | None = None, address: str | None = None) -> None:
        if workers is not None and workers < 1:
            raise ValueError(f"workers={workers} must be 1 or more")
        if find_spec("ray") is None:
            raise ImportError(f"Ray is not installed; {install_hint('scale')}", name="ray")
        self.workers, self.address = workers, address

    def map(self, parts: Iterable[list[Item]], make: Make[Item, Result]) -> Iterator[tuple[list[Item], Result]]:
        """As of ``Engine``.

        Args:
            parts: of files.
            make: is sent to all workers; like what it makes of importable functions and picklable objects.

        Raises:
            FileNotFoundError: one of them is not there.
            TypeError: the parts are not those of files.
            ValueError: one is a pipe or a folder.
        """
        if not isinstance(parts, FileParts):
            kind = type(parts).__name__
            raise TypeError(f"Ray's workers read files for themselves; give texts as TextFiles([...]), not a {kind}")
        for stretch in parts.stretches:
            if not stretch.path.exists():
                raise FileNotFoundError(f"there is no file {stretch.path}")
            if not stretch.path.is_file():
                raise ValueError(f"{stretch.path} is no file that Ray's workers can read; save the texts in one")
        return zip(parts, self._results(parts, make), strict=True)

    def _results(self, parts: FileParts[Item], make: Make[Item, Result]) -> Iterator[Result]:
        import ray

        from nlpkit.scale.ray_rows import results

        self._join_cluster()
        yield from results(parts, make, self.workers or max(int(ray.cluster_resources().get("CPU", 1)), 1))

    def _join_cluster(self) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # asks nobody outside
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        import ray
        from ray._private import worker

        if ray.is_initialized():
            return
        address = self.address or os.environ.get("RAY_ADDRESS")
        alone: dict[str, Any] = {} if address else {"num_cpus": self.workers, "include_dashboard": False}
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **alone)
        # It writes notes of killed workers to standard output, among the results, whatever is asked of it (2.60).
        worker._worker_logs_enabled = False
