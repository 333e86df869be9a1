"""Carry a job out on every tensor of a checkpoint, and write the result as another one."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from .._folder import CONFIG_NAME
from .._layout import Layout, layout_like, layout_of_size
from .._model_config import config_text, read_config, with_sparsity, without_sparsity
from .._packed import PackedTensor
from .._source import nbytes_of
from .._target import create_checkpoint, planned_frame
from ._jobs import Job, Step, dense, estimated
from ._paths import Output, checked_target
from ._reports import CheckpointReport, TensorReport
from ._steps import ProgressCallback, Work, naming, nonzero

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .._source import Checkpoint
    from .._storage import Storage
    from .._tensor_info import Tensor, TensorInfo

_logger = logging.getLogger("prunepack")

# Weights in formats that are not read here: they go along as they are, which may surprise.
OTHER_WEIGHTS = (
    ".bin",
    ".ckpt",
    ".gguf",
    ".h5",
    ".msgpack",
    ".onnx",
    ".pt",
    ".pth",
    ".safetensors",
)


def rewrite(
    source: Checkpoint,
    output: Output,
    job: Job,
    *,
    rules: str | None = None,
    notes: tuple[str, ...] = (),
    size_limit: int | None = None,
    num_threads: int | None,
    progress: ProgressCallback | None,
) -> CheckpointReport:
    """Carry `job` out on every tensor of `source`, or say what that would do.

    Raises
    ------
    ValueError
        If the result would be larger than `size_limit`, or `output` is not possible.
    """
    started = perf_counter()
    infos = source.infos()
    steps = plan_by_header(job, infos)
    unsure = [name for name in infos if name not in steps]
    plan = _Plan(source, output, job.storage, infos, steps)
    # Better said now than after hours of work.
    target = None if output.dry_run else checked_target(source, output, plan.files())
    rounds = (unsure,) if output.dry_run else (unsure, infos)
    work = Work(source, rounds, num_threads, progress)
    for name, step in work.through(
        unsure, lambda name, tensor, threads: job.plan_seeing(name, infos[name], tensor, threads)
    ):
        steps[name] = step
    _check_any_fits(job, infos, steps)
    notes += tuple(plan.notes())
    if target is None:
        tensors = {name: _predicted(name, infos[name], steps[name], job.storage) for name in infos}
        bytes_after = plan.size(tensors)
    else:
        tensors, bytes_after = _write(source, target, job, plan, work, size_limit)
    return CheckpointReport(
        source=str(source.path),
        target=None if output.path is None else str(output.path),
        rules=rules,
        format=job.storage.format,
        dry_run=output.dry_run,
        tensors=tuple(tensors[name] for name in infos),
        notes=notes,
        bytes_before=source.nbytes,
        bytes_after=bytes_after,
        seconds=perf_counter() - started,
    )


def plan_by_header(job: Job, infos: Mapping[str, TensorInfo]) -> dict[str, Step]:
    """Return the steps of those tensors whose headers decide them."""
    steps: dict[str, Step] = {}
    for name, info in infos.items():
        with naming(name):
            step = job.plan(name, info)
        if step is not None:
            steps[name] = step
    return steps


def predicted_size(source: Checkpoint, output: Output, job: Job) -> int:
    """Return the bytes that a checkpoint would have, at most, from the headers of its source alone."""
    infos = source.infos()
    steps = plan_by_header(job, infos)
    steps |= {name: Step("unchanged", dense(infos[name])) for name in infos.keys() - steps}
    plan = _Plan(source, output, job.storage, infos, steps)
    return plan.size(
        {n: _report(n, i, steps[n], steps[n].info, None, job.storage) for n, i in infos.items()}
    )


@dataclass(frozen=True)
class _Plan:
    """What will be written; `steps` grows while tensors are looked at."""

    source: Checkpoint
    output: Output
    storage: Storage
    infos: Mapping[str, TensorInfo]
    steps: Mapping[str, Step]

    def stored(self) -> dict[str, TensorInfo]:
        """Return the plan of each tensor; of those not decided yet, dense."""
        return {
            name: self.steps[name].info if name in self.steps else dense(info)
            for name, info in self.infos.items()
        }

    def layout(self) -> Layout | None:
        """Return the shards to write, or None for a single file."""
        if not self.output.is_folder(self.source):
            return None
        limit = self.output.max_shard_size
        if limit is None:
            return layout_like(self.source)
        return layout_of_size(self.stored(), self.storage, limit)

    def files(self) -> tuple[str, ...]:
        """Return the files that a folder will have."""
        layout = self.layout()
        if layout is None:
            return ()
        carried = () if self.source.folder is None else self.source.folder.carried
        return (*layout.files, *carried)

    def size(self, tensors: Mapping[str, TensorReport]) -> int:
        """Return the bytes of all files, given what became of each tensor, or what will."""
        path = Path(self.source.path if self.output.path is None else self.output.path)
        texts = changed_texts(self.source, self.storage, tensors) if self.layout() else {}
        frame = planned_frame(
            path,
            self.stored(),
            source=self.source,
            layout=self.layout(),
            storage=self.storage,
            texts=texts,
        )
        return frame + sum(tensor.bytes_after for tensor in tensors.values())

    def notes(self) -> list[str]:
        """Say what may surprise about the files that go along."""
        folder = self.source.folder
        if folder is None or not self.output.is_folder(self.source):
            return []
        notes = [
            f"{name} goes along as it is, and is not looked at"
            for name in folder.carried
            if name.endswith(OTHER_WEIGHTS)
        ]
        if self.storage.is_foreign and CONFIG_NAME not in folder.carried:
            notes.append(f"there is no {CONFIG_NAME} that could say {self.storage.format}")
        return notes


def _write(
    source: Checkpoint,
    target: Path,
    job: Job,
    plan: _Plan,
    work: Work,
    size_limit: int | None,
) -> tuple[dict[str, TensorReport], int]:
    infos, steps = plan.infos, plan.steps

    def made(name: str, tensor: Tensor, threads: int) -> tuple[Tensor, TensorReport]:
        begun = perf_counter()
        stored = job.make(steps[name], tensor, threads)
        seconds = perf_counter() - begun
        report = _done(name, infos[name], steps[name], stored, job.storage, threads)
        return stored, replace(report, seconds=seconds)

    done: dict[str, TensorReport] = {}
    with create_checkpoint(
        target, plan.stored(), source=source, layout=plan.layout(), storage=job.storage
    ) as out:
        for name, (stored, report) in work.through(out.order, made):
            out.write(name, stored)
            done[name] = report
        out.texts |= changed_texts(source, job.storage, done)
        nbytes = plan.size(done)
        if size_limit is not None and nbytes > size_limit:
            msg = f"target_size must be at least {nbytes}, got {size_limit}"
            raise ValueError(msg)
    _logger.info("wrote %s", target)
    # Of a folder the plan is exact, and another run may be replacing it already; of an archive the plan
    # says how many bytes it has at most.
    if plan.layout() is None:
        with contextlib.suppress(OSError):
            nbytes = nbytes_of(target)
    return done, nbytes


def _check_any_fits(job: Job, infos: Mapping[str, TensorInfo], steps: Mapping[str, Step]) -> None:
    """Raise a ValueError if nothing is 2:4 in what is to be stored as such."""
    if not job.storage.is_24 or any(step.info.packed for step in steps.values()):
        return
    for name in infos:
        note = steps[name].note or ""
        if "keeps more than" in note:
            msg = (
                "a tensor must be 2:4 to be stored as sparse-24-bitmask and none is:"
                f" of {name!r} {note.removeprefix('stayed dense: ')}"
            )
            raise ValueError(msg)


def changed_texts(
    source: Checkpoint, storage: Storage, tensors: Mapping[str, TensorReport]
) -> dict[str, str]:
    """Return what config.json must say of the new checkpoint, if that is something else."""
    if source.folder is None or CONFIG_NAME not in source.folder.carried:
        return {}
    config = read_config(source.path / CONFIG_NAME)
    changed: dict[str, Any] = without_sparsity(config)
    if storage.is_foreign:
        counted = [t for t in tensors.values() if t.kept is not None]
        zeros = sum(t.weights - (t.kept or 0) for t in counted)
        weights = sum(t.weights for t in tensors.values())
        ignored = (
            name.removesuffix(".weight")
            for name, t in tensors.items()
            if not t.packed and len(t.shape) == 2 and name.endswith(".weight")
        )
        sparsity = round(zeros / weights, 6) if weights else 0.0
        changed = with_sparsity(config, storage, sparsity, ignored)
    return {} if changed == config else {CONFIG_NAME: config_text(changed)}


def _done(
    name: str, before: TensorInfo, step: Step, stored: Tensor, storage: Storage, threads: int
) -> TensorReport:
    kept = None
    if isinstance(stored, PackedTensor):
        kept = stored.kept
    elif isinstance(stored, np.ndarray) and step.action in ("pruned", "unpacked"):
        kept = nonzero(stored, threads).kept
    after = replace(step.info, kept=kept if step.info.packed else None)
    return _report(name, before, step, after, kept, storage)


def _predicted(name: str, before: TensorInfo, step: Step, storage: Storage) -> TensorReport:
    """Return what a report would say if no weight that is kept were zero."""
    after = estimated(step.info, step.pattern)
    kept = after.kept if after.kept is not None else after.most_kept
    if not after.packed:
        pruned = None if step.pattern is None else step.pattern.target(before.shape)
        kept = None if pruned is None else prod(before.shape) - pruned
    exact = after is step.info and not (after.packed and kept is None)
    return replace(_report(name, before, step, after, kept, storage), exact=exact)


def _report(
    name: str,
    before: TensorInfo,
    step: Step,
    after: TensorInfo,
    kept: int | None,
    storage: Storage,
) -> TensorReport:
    nbytes = model_bytes = after.nbytes_in(storage)
    if after.packed and kept is not None and after.numpy is not None:
        bits = 8 * after.numpy.itemsize
        model_bytes = (bits * kept + prod(after.shape) + 7) // 8
    return TensorReport(
        name=name,
        dtype=before.dtype,
        shape=before.shape,
        action=step.action,
        packed=after.packed,
        pattern=None if step.pattern is None else str(step.pattern),
        note=step.note,
        kept=kept,
        bytes_before=before.nbytes,
        bytes_after=nbytes,
        model_bytes=model_bytes,
    )
