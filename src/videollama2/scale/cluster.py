"""Many clips on a Ray cluster: Ray Data moves them from actors that read to actors with a model."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from math import floor
from typing import Any

from videollama2.assistant import resolve
from videollama2.engines.cluster import LOOK, ClusterError, connected
from videollama2.media.source import SCHEME
from videollama2.scale.clips import Clip, Failure
from videollama2.scale.errors import BulkError
from videollama2.scale.rows import failed
from videollama2.scale.work import Work

log = logging.getLogger("videollama2.scale")
_BLOCK = 16  # clips of one task: what is done again when a process dies, and what rows wait for
_CALLS = 4  # tasks that an actor with a model has in hand, so that it never waits for the next
_MOST_LOST = 20
_MOST_READERS = 8


@dataclass(frozen=True)
class Cluster:
    """Where to compute: `address` as Ray has it ("auto", HOST:PORT), or "local" for this machine.

    `workers` are models, None as many as there are GPUs, or one for each machine; `readers` are
    clips that are read at a time for each of them, None as many as there are CPUs left.
    """

    address: str
    workers: int | None = None
    readers: int | None = None


@dataclass(frozen=True)
class Shape:
    """How many actors of which size: CPUs are shares of one where there are too few."""

    workers: int
    readers: int
    reader_cpus: float
    model_cpus: float
    model_gpus: int


def caption_on_cluster(
    cluster: Cluster, work: Work, clips: Iterable[Clip]
) -> Iterator[Sequence[dict[str, Any]]]:
    """Rows of clips, read and answered on a cluster.

    Ray does again, once, what processes and machines had in hand when they died. Clips that come
    back without a row all the same are then tried one at a time, and again once; those that do so
    again are rows with the failure "lost".

    Raises:
        ClusterError: there is no Ray, no such cluster, or it fails.
        BulkError: the model cannot be loaded.
    """
    with connected(cluster.address) as ray:
        shape = shape_of(cluster, work, ray.cluster_resources(), _machines(ray))
        waiting = {clip.id: _from_anywhere(clip) for clip in clips}
        work = replace(
            work,
            model=replace(work.model, name=_place(resolve(work.model.name))),
            reading=replace(work.reading, readers=shape.readers),
        )
        came = 0
        for alone in (False, True):
            if alone:
                log.warning("%d clips came back without a row: each alone now", len(waiting))
            for rows in _pass(ray, shape, work, list(waiting.values()), alone=alone):
                new = [row for row in rows if waiting.pop(row["clip"], None)]
                came += len(new)
                yield new
            if not waiting:
                return
        if not came and len(waiting) > _MOST_LOST:
            raise ClusterError("Ray", "its processes die before any clip is answered", LOOK)
        reason = "whatever worked on it died each time"
        asked = work.asking
        yield [failed(clip, asked.of(clip), Failure("lost", reason)) for clip in waiting.values()]


def shape_of(cluster: Cluster, work: Work, has: dict[str, float], machines: int) -> Shape:
    """Actors for what a cluster has (`CPU`, `GPU`); all of them fit at the same time."""
    gpus, cpus = int(has.get("GPU", 0)), has.get("CPU", 1.0)
    on_gpu = gpus > 0 and work.model.device != "cpu"
    workers = cluster.workers or (gpus if on_gpu else machines)
    left = floor(cpus / workers) - (0 if on_gpu else 1)
    readers = cluster.readers or max(1, min(left, _MOST_READERS))
    share = min(1.0, floor(100 * cpus / (workers * (readers + (0 if on_gpu else 1)))) / 100)
    return Shape(workers, readers, share * readers, 0.0 if on_gpu else share, int(on_gpu))


def _machines(ray: Any) -> int:
    return max(sum(bool(node["Alive"]) for node in ray.nodes()), 1)


def _pass(
    ray: Any, shape: Shape, work: Work, clips: Sequence[Clip], *, alone: bool
) -> Iterator[list[dict[str, Any]]]:
    """Rows as tasks end; clips whose tasks failed have none."""
    size = 1 if alone else max(1, min(_BLOCK, len(clips) // (8 * shape.workers)))
    blocks = [clips[at : at + size] for at in range(0, len(clips), size)]
    context = ray.data.DataContext.get_current()
    context.max_errored_blocks = len(blocks) if alone else max(50, len(blocks) // 10)
    context.enable_progress_bars = context.print_on_execution_start = False
    with _roll(ray) as roll:
        written = _plan(ray, shape, work, blocks, roll, alone=alone)
        yield from _rows(ray, written, work)


@contextmanager
def _roll(ray: Any) -> Generator[Any]:
    """A roll for the actors of a pass, which end with it.

    Ray Data lets go of an actor that is just being started again without ending it: it would keep
    its share of the cluster, a model's GPU, for as long as we stay connected.
    """
    from videollama2.scale.actors import Roll

    roll = ray.remote(num_cpus=0)(Roll).remote()
    try:
        yield roll
    finally:
        with suppress(ray.exceptions.RayError):  # the roll's own process died
            for actor in ray.get(roll.signed.remote()):
                ray.kill(actor)
        ray.kill(roll)


def _rows(ray: Any, written: Any, work: Work) -> Iterator[list[dict[str, Any]]]:
    try:
        for table in written.iter_batches(batch_size=None, batch_format="pyarrow"):
            wrong = [one for one in table.column("wrong").to_pylist() if one is not None]
            if wrong:
                raise BulkError(work.model.name, wrong[0], "See what it says")
            yield [json.loads(row) for row in table.column("row").to_pylist()]
    except ray.exceptions.RayError as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise ClusterError("Ray", first, LOOK) from error


def _plan(
    ray: Any, shape: Shape, work: Work, blocks: Sequence[Sequence[Clip]], roll: Any, *, alone: bool
) -> Any:
    """The data set of rows, a block a task; nothing is computed before it is iterated over."""

    def pool(calls: int) -> Any:
        return ray.data.ActorPoolStrategy(
            min_size=1, max_size=shape.workers, initial_size=shape.workers,
            max_concurrent_calls_per_actor=calls, enable_true_multi_threading=True,
            max_tasks_in_flight_per_actor=1 if alone else 2 * calls,
        )  # fmt: skip

    from videollama2.scale.actors import Answering, Reading

    whole = {"fn_constructor_args": (work, roll), "batch_size": None, "batch_format": "pyarrow"}
    # With no retry at all, what is sent to an actor that is being started again fails untried.
    whole |= {"max_restarts": -1, "max_task_retries": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # retries have no other name before Ray 2.64
        read = ray.data.from_arrow([_table(block) for block in blocks]).map_batches(
            Reading, compute=pool(shape.readers), num_cpus=shape.reader_cpus, **whole
        )
        return read.map_batches(
            Answering, compute=pool(1 if alone else _CALLS), num_cpus=shape.model_cpus,
            num_gpus=shape.model_gpus, **whole,
        )  # fmt: skip


def _table(clips: Sequence[Clip]) -> Any:
    from videollama2.scale.actors import CLIPS, arrow

    return arrow.table({"clip": [clip.as_json() for clip in clips]}, schema=CLIPS)


def _from_anywhere(clip: Clip) -> Clip:
    return replace(clip, path=_place(clip.path))


def _place(path: str) -> str:
    """A path that means the same in another folder; an address or a model's hub id as it is."""
    if SCHEME.match(path) or not os.path.lexists(path):
        return path
    return os.path.abspath(path)
