"""A fine-tuned model that answers new examples."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath
from jax.sharding import Mesh

from electra_jax.config.fields import Settings
from electra_jax.config.resolve import resolve
from electra_jax.config.settings import Config
from electra_jax.core import files, rng, trees
from electra_jax.core.complaints import Complaints, counted
from electra_jax.core.errors import CheckpointError
from electra_jax.finetune import answers, results
from electra_jax.finetune import split as splits
from electra_jax.finetune import task as tasks
from electra_jax.finetune.answers import Answerer
from electra_jax.finetune.batches import FEW_ROWS
from electra_jax.finetune.kinds.kind import Predictions, Task
from electra_jax.finetune.kinds.table import KINDS
from electra_jax.finetune.results import TRIAL_FILE
from electra_jax.finetune.split import Loaded
from electra_jax.init_from import Start, check_complete
from electra_jax.model.bind import bind
from electra_jax.parallel import mesh as meshes
from electra_jax.parallel import rules
from electra_jax.tokenizers.api import Tokenizer
from electra_jax.tokenizers.unknown import Unknown
from electra_jax.train import workdir


class Predictor(NamedTuple):
    """A fine-tuned model on the devices."""

    params: trees.Tree  # on the mesh
    task: Task  # that it was fine-tuned on
    tokenizer: Tokenizer
    config: Config  # that it was trained with, for the present devices
    answerer: Answerer

    def answer(
        self, examples: Sequence[Any], complaints: Complaints, unknown: Unknown | None = None
    ) -> Predictions:
        """What the model answers to examples.

        Examples that are too long for a row are counted among the complaints, and what the
        vocabulary lacks is added to `unknown`.
        """
        kind, some = KINDS[self.task.kind], list(examples)
        split = splits.make_split(
            self.config,
            self.tokenizer,
            Loaded(some, self.task, complaints, ''),
            few=len(some) < FEW_ROWS,
        )
        if unknown is not None:
            unknown.merge(split.unknown)
        outputs = self.answerer.outputs(self.params, split)
        return Predictions(self.task, some, kind.answers(self.task, some, split.rows, outputs))

    def scores(self, files: Mapping[str, Sequence[tuple[Any, Any]]]) -> list[str]:
        """What evaluation reports of examples with their labels, by the name of their file.

        Each is given with its item of `Predictions.values`.
        """
        lines = []
        for name, pairs in files.items():
            examples, values = map(list, zip(*pairs, strict=True))
            # Items of one shape may come from one array of all examples, which a kind may rely on.
            arrays = [x for x in values if isinstance(x, np.ndarray | np.generic)]
            is_array = len(arrays) == len(values) and len({x.shape for x in arrays}) == 1
            whole = np.stack(values) if is_array else values
            predicted = {name: Predictions(self.task, examples, whole)}
            trial = results.scored(0, predicted)
            lines += [
                f'{counted(len(examples), "rows")} with labels: '
                f'{results.scores_line(trial.metrics)}',
                *results.trivial(self.task, (), {name: examples}).lines_with_scores(),
                *trial.notes,
            ]
        return lines


def trial_folders(folder: epath.Path) -> list[epath.Path]:
    """The folders with a fine-tuned model: `folder` itself, or its trials in their order."""
    inside = folder / workdir.TRIALS
    if not inside.exists():
        return [folder]
    numbers = sorted(int(child.name) for child in inside.iterdir() if child.name.isdigit())
    folders = [inside / str(k) for k in numbers if workdir.has_checkpoint(inside / str(k))]
    if not folders:
        raise CheckpointError(
            f'no trial in {inside} has parameters: none is finished, or they were not kept '
            '(--config.task.save)'
        )
    return folders


def best_folder(folder: epath.Path) -> epath.Path:
    """The trial with the best headline score, the first of equal ones."""
    folders = trial_folders(folder)

    def score(one: epath.Path) -> float:
        path = one / TRIAL_FILE
        if not path.exists():
            return -math.inf
        try:
            content = files.parse_object(path.read_text())
            return float(content['metrics'][content['headline']])
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f'{path} is damaged ({error!r:.100}): name one trial, such as {folders[0]}'
            ) from error

    return folders[0] if len(folders) == 1 else max(folders, key=score)


def open_predictor(start: Start, settings: Settings, task: Task | None = None) -> Predictor:
    """A fine-tuned checkpoint's parameters (NumPy) with the functions to use them.

    Args:
        start: the checkpoint.
        settings: mesh, batch size and ways of computing are used.
        task: that of the checkpoint, where something of it was changed for these answers.
    """
    where, params = str(start.where), start.params
    task = task or tasks.from_json(start.about['task'], where)
    config, mesh = for_rows(resolve(settings, jax.devices()[0].platform, start.stored), task)
    kind, size = KINDS[task.kind], start.tokenizer.vocab_size
    model = bind(config.model, size)
    head = model.head(kind.head(task))
    shapes = {**model.shapes(('encoder',)), 'task_head': jax.eval_shape(head.init, rng.root_key(0))}
    check_complete(where, params, shapes)
    answerer = answers.task_answerer(config, size, task, mesh)
    return Predictor(put(mesh, params), task, start.tokenizer, config, answerer)


def for_rows(config: Config, task: Task) -> tuple[Config, Mesh]:
    """The config for rows of the task's length, and the mesh of the devices, on which it fits."""
    data = dataclasses.replace(config.data, row_length=task.row_length)
    config = dataclasses.replace(config, data=data)
    mesh = meshes.make_mesh(config.mesh)
    meshes.check_batch(config, mesh, jax.process_count())
    return config, mesh


def put(mesh: Mesh, params: trees.Tree) -> trees.Tree:
    """NumPy arrays of parameters, laid out over the mesh."""
    return jax.device_put(params, rules.state_shardings(params, mesh))
