"""The answers of a model to rows of tokens; nothing here is needed to train."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from electra_jax.config.settings import Config
from electra_jax.core import trees
from electra_jax.core.errors import NonFiniteError
from electra_jax.finetune import batches
from electra_jax.finetune.kinds.kind import Batch, Predictions, Task
from electra_jax.finetune.kinds.table import KINDS
from electra_jax.finetune.split import Split
from electra_jax.model.bind import Model, Params, bind
from electra_jax.parallel import rules
from electra_jax.runtime import terminal

Report = Callable[[str], None]  # prints a line for people
# Parameters, a batch -> what is answered to each row.
Outputs = Callable[[Params, Batch], dict[str, jax.Array]]


def put(mesh: Mesh, host_batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """A global batch, which every host holds whole, as arrays over the mesh."""

    def put_one(x: np.ndarray) -> jax.Array:
        per_host = len(x) // jax.process_count()
        mine = x[jax.process_index() * per_host :][:per_host]
        sharding = rules.batch_sharding(mesh, x.shape)
        return jax.make_array_from_process_local_data(sharding, mine, x.shape)

    return {name: put_one(x) for name, x in host_batch.items()}


class Answerer(NamedTuple):
    """What evaluation and prediction need of a program."""

    mesh: Mesh  # that parameters and batches are on
    batch_size: int
    answers: Callable  # jitted: params, batch -> outputs for each row, which every host sees whole

    def outputs(
        self, params: trees.Tree, split: Split, report: Report | None = None, name: str = ''
    ) -> list[Mapping[str, np.ndarray]]:
        """The outputs for each row of a split, in the order of the rows.

        `report` is handed a line from time to time, which shows how far the split `name` is.

        Raises:
            NonFiniteError: an output is NaN or infinite, whatever is made of it afterwards.
        """
        outputs: list[Mapping[str, np.ndarray]] = [{}] * len(split.rows)
        batch_size = self.batch_size
        if self.mesh.devices.flat[0].platform == 'cpu':  # where an empty row takes as long
            batch_size = batches.rows_of_few(len(split.rows), batch_size, self.mesh.size)
        pending: tuple[batches.Batch, Any] | None = None

        def collect() -> None:
            if pending is None:
                return
            batch, arrays = pending[0], jax.device_get(pending[1])
            _check_finite(arrays, len(batch.rows))
            for slot, row in enumerate(batch.rows):
                outputs[row] = {name: x[slot] for name, x in arrays.items()}

        todo = terminal.track(
            batches.in_order(split.rows.lengths(), split.sizes, batch_size),
            f'{name}: answered',
            lambda one: batch_size * one.row_length,
            unit='tokens',
            report=report,
            quiet=report is None,
        )
        for batch in todo:
            host_batch = split.host_batch(batch, batch_size)
            arrays = self.answers(params, put(self.mesh, host_batch))
            collect()  # the batch before, while an accelerator computes this one
            pending = batch, arrays
        collect()
        return outputs

    def predict(
        self, params: trees.Tree, splits: Mapping[str, Split], report: Report | None = None
    ) -> dict[str, Predictions]:
        """What the model predicts for the examples of each split, by the split's name."""
        predicted = {}
        for name, split in splits.items():
            outputs = self.outputs(params, split, report, name)
            task, examples = split.loaded.task, split.loaded.examples
            values = KINDS[task.kind].answers(task, examples, split.rows, outputs)
            predicted[name] = Predictions(task, examples, values)
        return predicted


def _check_finite(arrays: Mapping[str, np.ndarray], count: int) -> None:
    """Refuses outputs of the first `count` rows by which no answer can be chosen.

    A comparison with NaN is never true, so that an answer would be chosen all the same: the first
    class, no class, rank 1.
    """
    for name, x in arrays.items():
        bad = ~np.isfinite(x[:count]).reshape(count, -1).all(axis=1)
        if bad.any():
            raise NonFiniteError(
                f'the model answers {bad.sum()} of {count} rows with NaN or infinity ({name}): its '
                'training has failed, or its file is damaged; train it again, with a lower '
                'config.optimizer.learning_rate'
            )


def answerer(
    config: Config, vocab_size: int, mesh: Mesh, outputs: Callable[[Model], Outputs]
) -> Answerer:
    """Compiles the function that `outputs` makes of a model.

    Layers are not unrolled, but for those of a decoder, which copy a cache otherwise: with no
    backward pass, they would only take longer to compile.
    """
    model = bind(dataclasses.replace(config.model, scan_unroll=1), vocab_size)
    bound = rules.on_mesh(outputs(model), mesh)
    return Answerer(mesh, config.batch_size, jax.jit(bound, out_shardings=rules.replicated(mesh)))


def task_answerer(config: Config, vocab_size: int, task: Task, mesh: Mesh) -> Answerer:
    """The answerer of a fine-tuned model."""
    shape = KINDS[task.kind].head(task)
    return answerer(config, vocab_size, mesh, lambda model: model.head(shape).answers)
