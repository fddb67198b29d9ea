"""The train step of a config, in turns with others: ``python -m electra_jax.bench.step``."""

import functools
import json
import sys
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from etils import epath

from electra_jax.bench import worker
from electra_jax.bench.throughput import Stepper, peak_device_bytes
from electra_jax.config.settings import Config, build
from electra_jax.core.errors import UserError
from electra_jax.data import pipeline
from electra_jax.model.flops import training_flops
from electra_jax.objectives.definition import Vocabulary
from electra_jax.parallel import chips, report
from electra_jax.pretrain import program as runs
from electra_jax.runtime import distributed
from electra_jax.tokenizers.api import SpecialIds

# Rows of random tokens stand for text: the vocabulary that ELECTRA was published with.
PUBLISHED = Vocabulary(30522, SpecialIds(pad=0, unk=100, cls=101, sep=102, mask=103))


def random_rows(rows: int, row_length: int, vocabulary: Vocabulary) -> pipeline.HostBatch:
    """Full rows of one document each, of random ordinary tokens, int32 [B, L]."""
    shape, size = (rows, row_length), vocabulary.size
    tokens_BL = np.random.default_rng(0).integers(min(1000, size // 2), size, shape, np.int32)
    tokens_BL[:, 0], tokens_BL[:, -1] = vocabulary.special.cls, vocabulary.special.sep
    places_BL = np.broadcast_to(np.arange(row_length, dtype=np.int32), shape)
    return {
        'tokens': tokens_BL,
        'documents': np.ones(shape, np.int32),
        'positions': np.ascontiguousarray(places_BL),
        'types': np.zeros(shape, np.int32),
    }


class Batches:
    """Batches for a program, text where its config names any, and what of them is real."""

    def __init__(self, config: Config):
        """Opens the text and makes the program."""
        if config.data.path is None:
            self.program = runs.build_program(config, PUBLISHED)
            share = runs.host_slice(config)
            same = random_rows(len(share.rows), config.data.row_length, PUBLISHED)
            placed = runs.put_batch(self.program.mesh, config.batch_size, same)
            self._next, self._host = lambda: placed, lambda: same
        else:
            run = runs.open_text(config, epath.Path())
            self.program, batches = run.program, runs.device_batches(run)
            self._next, self._host = lambda: next(batches), lambda: batches.host_batch
        self._real, self._all = 0, 0

    def __iter__(self) -> Iterator[dict[str, jax.Array]]:
        return self

    def __next__(self) -> dict[str, jax.Array]:
        """The next batch on the mesh."""
        batch, documents_BL = self._next(), self._host()['documents']
        self._real += np.count_nonzero(documents_BL)
        self._all += documents_BL.size
        return batch

    @property
    def real_share(self) -> float:
        """Tokens that are not padding, of all so far."""
        return self._real / self._all


def describe(program: runs.Program, stepper: Stepper) -> dict[str, Any]:
    """What is run, on what."""
    config, mesh = program.config, program.mesh
    flops = training_flops(config, program.vocabulary.size, program.objective.parts)
    device = mesh.devices.flat[0]
    return {
        'platform': device.platform,
        'device': device.device_kind,
        'devices': report.mesh_line(mesh),
        'process': jax.process_index(),
        'dtype': config.model.compute_dtype,
        'vocab_size': program.vocabulary.size,
        'compile_seconds': stepper.compile_seconds,
        'flops_per_token': flops,
        'peak_flops': chips.peak_flops(list(mesh.devices.flat)),
    }


def begin(settings: dict[str, Any]) -> worker.Served:
    """Compiles the step of a config and warms it up.

    Args:
        settings: 'config': all of it, resolved; 'warmup': steps that are not counted.
    """
    distributed.initialize()
    batches = Batches(build(Config, settings['config']))
    program = batches.program
    stepper = Stepper(program.step, program.fresh_state(), iter(batches))
    stepper.run(settings['warmup'])
    return worker.Served(
        describe(program, stepper),
        lambda steps: stepper.run(steps)._asdict(),
        lambda: {'peak_device_bytes': peak_device_bytes(), 'real_share': batches.real_share},
    )


if __name__ == '__main__':
    try:
        worker.serve(functools.partial(begin, json.loads(sys.argv[1])))
    except UserError as error:
        sys.exit(f'error: {error}')
