"""The train step of a config as a measured program: ``python -m electra_jax.bench.step``."""

import functools
import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from electra_jax.bench import worker
from electra_jax.config import fields
from electra_jax.config.resolve import resolve
from electra_jax.config.settings import Config
from electra_jax.corpus.job import build_corpus
from electra_jax.data import pipeline
from electra_jax.model.flops import training_flops
from electra_jax.objectives.definition import Vocabulary, without_text
from electra_jax.parallel import chips, mesh
from electra_jax.pretrain import program as runs
from electra_jax.pretrain import text as texts
from electra_jax.runtime import distributed, malloc
from electra_jax.tokenizers.api import SpecialIds

# The vocabulary that ELECTRA was published with, for rows of random tokens.
PUBLISHED = Vocabulary(30522, SpecialIds(pad=0, unk=100, cls=101, sep=102, mask=103))


def random_rows(rows: int, row_length: int, vocabulary: Vocabulary) -> pipeline.HostBatch:
    """Full rows of one document each, of random ordinary tokens, int32 [B, L]."""
    shape, size = (rows, row_length), vocabulary.size
    tokens_BL = np.random.default_rng(0).integers(min(1000, size // 2), size, shape, np.int32)
    tokens_BL[:, 0], tokens_BL[:, -1] = vocabulary.special.cls, vocabulary.special.sep
    positions_BL = np.broadcast_to(np.arange(row_length, dtype=np.int32), shape)
    return {
        'tokens': tokens_BL,
        'documents': np.ones(shape, np.int32),
        'positions': np.ascontiguousarray(positions_BL),
        'types': np.zeros(shape, np.int32),
    }


def end_of(metrics: Any) -> float:
    """The time when a step's metrics are there."""
    jax.block_until_ready(metrics)
    return time.perf_counter()


class Stepper:
    """A train step under the clock; as in training, with one step in flight on an accelerator."""

    def __init__(self, program: runs.Program, batches: Iterator[Mapping[str, jax.Array]]):
        """Compiles the step for batches of an endless stream."""
        self._batches, self._state = batches, program.fresh_state()
        self._is_computed = malloc.computes_in_main_thread()  # a step, when its call returns
        began = time.perf_counter()
        self._step = program.step.lower(self._state, next(batches)).compile()  # type: ignore[attr-defined]
        self.compile_seconds = time.perf_counter() - began

    def run(self, steps: int) -> dict[str, Any]:
        """Does `steps` steps: their seconds, those of waiting for each batch, and the last loss."""
        waits: list[float] = []
        metrics: Any = None

        def start() -> Callable[[], float]:
            nonlocal metrics
            asked = time.perf_counter()
            batch = next(self._batches)
            waits.append(time.perf_counter() - asked)
            self._state, metrics = self._step(self._state, batch)
            if self._is_computed:
                ended = end_of(metrics)
                return lambda: ended
            return functools.partial(end_of, metrics)

        seconds = worker.time_steps(steps, start)
        loss = float(metrics['loss'])
        return {'step_seconds': seconds, 'input_seconds': waits, 'loss': loss}


class Batches:
    """Batches for a program, of text if its config names any, and the share that is not padding."""

    def __init__(self, config: Config):
        """Makes the program, and opens the text if there is any."""
        self._pairs: Iterator[tuple[dict[str, jax.Array], pipeline.HostBatch]]
        if config.data.path is None:
            self.program = runs.build_program(config, without_text(PUBLISHED, config.model))
            host_rows = texts.host_rows(config)
            here = len(host_rows.indices)
            same = random_rows(here, config.data.row_length, PUBLISHED)
            same |= runs.blank_images(config, here)
            on_mesh = runs.put_batch(self.program.mesh, config.batch_size, same)
            self._pairs = itertools.repeat((on_mesh, same))
        else:
            text = texts.open_text(config, build_corpus)
            self.program = runs.build_program(config, texts.vocabulary(config, text))
            batches = texts.training_batches(text, self.program)
            self._pairs = ((batch, batches.host_batch or {}) for batch in batches)
        self._real, self._all = 0, 0

    def __iter__(self) -> Iterator[dict[str, jax.Array]]:
        return self

    def __next__(self) -> dict[str, jax.Array]:
        """The next batch on the mesh."""
        batch, host = next(self._pairs)
        self._real += int(np.count_nonzero(host['documents']))
        self._all += host['documents'].size
        return batch

    @property
    def real_share(self) -> float:
        """Tokens that are not padding, of all so far."""
        return self._real / self._all


def peak_device_bytes() -> int | None:
    """The peak of the fullest device's allocator; None on a CPU."""
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    return max((x['peak_bytes_in_use'] for x in stats if 'peak_bytes_in_use' in x), default=None)


def begin(settings: dict[str, Any]) -> worker.Served:
    """Compiles the step of a 'config', whose settings are as typed; does 'warmup' steps."""
    malloc.compute_in_main_thread()
    distributed.initialize()
    asked = fields.build(fields.typed(Config), settings['config'])
    batches = Batches(resolve(asked, jax.devices()[0].platform))
    program = batches.program
    stepper = Stepper(program, batches)
    stepper.run(settings['warmup'])
    config, size = program.config, program.vocabulary.size
    device = program.mesh.devices.flat[0]
    ready = {
        'platform': device.platform,
        'device': device.device_kind,
        'devices': mesh.mesh_line(program.mesh),
        'process': jax.process_index(),
        'dtype': config.model.compute_dtype,
        'vocab_size': size,
        'compile_seconds': stepper.compile_seconds,
        'flops_per_token': training_flops(config, size, program.objective.networks),
        'peak_flops': chips.peak_flops(list(program.mesh.devices.flat)),
    }
    return worker.Served(
        ready,
        stepper.run,
        lambda: {'peak_device_bytes': peak_device_bytes(), 'real_share': batches.real_share},
    )


if __name__ == '__main__':
    worker.serve(begin)
