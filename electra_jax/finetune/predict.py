"""Fine-tuned models read back: to be scored again, or to answer new text."""

import copy
import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
from etils import epath
from jax.sharding import Mesh

from electra_jax.config.fields import Settings
from electra_jax.config.resolve import check_stored_model, resolve
from electra_jax.config.settings import Config
from electra_jax.core import trees
from electra_jax.core.errors import CheckpointError, ConfigError
from electra_jax.core.files import parse_object
from electra_jax.finetune import prediction_files, predictions, results
from electra_jax.finetune import split as splits
from electra_jax.finetune import task as trained
from electra_jax.finetune.bad_rows import BadRows
from electra_jax.finetune.examples import Example
from electra_jax.finetune.job import RESULT, on_first_host
from electra_jax.finetune.program import Answerer, Say, compile_answers
from electra_jax.finetune.readers import Loaded
from electra_jax.finetune.results import Trial
from electra_jax.finetune.split import Split
from electra_jax.finetune.task import TrainedTask
from electra_jax.init_from import check_complete, checked_start
from electra_jax.model import bind
from electra_jax.parallel import mesh as meshes
from electra_jax.parallel import rules
from electra_jax.runtime import distributed
from electra_jax.tokenizers.api import Tokenizer
from electra_jax.train import checkpoint, workdir

EVALUATION = 'evaluation'  # folder of a workdir


class Tuned(NamedTuple):
    """A fine-tuned model on the devices, ready to answer.

    Attributes:
      where: its folder.
      params: on the mesh.
      task: that it was trained on.
      tokenizer: its own.
      config: it was trained with, for the devices of now.
      answerer: its functions.
    """

    where: epath.Path
    params: trees.Tree
    task: TrainedTask
    tokenizer: Tokenizer
    config: Config
    answerer: Answerer

    def answer(self, examples: Sequence[Example], bad: BadRows) -> Iterator[dict[str, Any]]:
        """What the model says of each example, as predictions/*.jsonl have it.

        Args:
            examples: new text.
            bad: those that are too long for a row are counted here.
        """
        loaded = Loaded(list(examples), self.task.known, bad, '')
        settings = self.task.features(labelled=False)
        split = splits.make_split(self.config, self.tokenizer, settings, loaded)
        found = self.answerer.predict(self.params, self.task, split)
        yield from prediction_files.json_rows(found)


def trial_folders(folder: epath.Path) -> list[epath.Path]:
    """The folders with a fine-tuned model: `folder` itself, or its trials in their order.

    Raises:
        CheckpointError: there are none.
    """
    inside = folder / workdir.TRIALS
    if not inside.exists():
        return [folder]
    numbers = sorted(int(child.name) for child in inside.iterdir() if child.name.isdigit())
    found = [inside / str(k) for k in numbers if workdir.has_checkpoint(inside / str(k))]
    if not found:
        raise CheckpointError(
            f'no trial in {inside} has parameters: none is finished, or they were not kept '
            '(--config.task.save)'
        )
    return found


def best_folder(folder: epath.Path) -> epath.Path:
    """Of several trials the one with the best headline score, the first of equal ones."""
    folders = trial_folders(folder)

    def score(one: epath.Path) -> float:
        path = one / RESULT
        if not path.exists():
            return -math.inf
        try:
            found = parse_object(path.read_text())
            return float(found['metrics'][found['headline']])
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f'{path} is damaged ({error!r:.100}): name one trial, such as {folders[0]}'
            ) from error

    return folders[0] if len(folders) == 1 else max(folders, key=score)


def open_tuned(
    where: epath.Path, params: trees.Tree, about: Mapping[str, Any], settings: Settings
) -> Tuned:
    """A fine-tuned checkpoint with the functions to use it.

    Args:
        where: it was read from.
        params: NumPy arrays.
        about: what it says of itself.
        settings: its mesh, batch size and ways of computing are used.

    Raises:
        CheckpointError: it was not fine-tuned, or is damaged.
    """
    task = task_of(where, about)
    start = checked_start(settings, str(where), params, about)
    config = resolve(settings, jax.devices()[0].platform, start.stored)
    data = dataclasses.replace(config.data, row_length=task.row_length)
    config = dataclasses.replace(config, data=data)
    mesh = meshes.make_mesh(config.mesh)
    meshes.check_batch(config, mesh, jax.process_count())
    init_head = functools.partial(bind.init_head, config.model, task.head())
    check_complete(str(where), params, lambda key: {'task_head': init_head(key)})
    answers = compile_answers(config.model, start.tokenizer.vocab_size, task.head(), mesh)
    answerer = Answerer(mesh, config.batch_size, answers)
    return Tuned(where, place(mesh, params), task, start.tokenizer, config, answerer)


def task_of(where: epath.Path, about: Mapping[str, Any]) -> TrainedTask:
    """What a checkpoint was fine-tuned on.

    Raises:
        CheckpointError: nothing, or it does not say so whole.
    """
    if 'task' not in about:
        raise CheckpointError(
            f'{where} holds a model that was not fine-tuned: fine-tune it first '
            f'(--config=configs/finetune/... --config.init_from={where})'
        )
    return trained.from_json(about['task'], str(where))


def place(mesh: Mesh, params: trees.Tree) -> trees.Tree:
    """NumPy arrays of parameters, laid over the mesh."""
    return jax.device_put(params, rules.state_shardings(params, mesh))


class Evaluated(NamedTuple):
    """A workdir's trials scored again.

    Attributes:
      headline: 'SPLIT/METRIC' that stands for the task.
      trials: their new results.
      remarks: on rows of the files, for people.
    """

    headline: str
    trials: list[Trial]
    remarks: list[str]


def evaluate(settings: Settings, folder: epath.Path, say: Say = lambda text: None) -> Evaluated:
    """Scores every trial of a fine-tuning workdir on the task's files.

    What bears on the answers is as it was in training, but for `null_threshold` if it is given.
    Scores and predictions are written below `folder`/evaluation. `say` is told how far it is.

    Raises:
        UserError: there is no trial, or the files cannot be used.
    """
    distributed.initialize()
    first, *others = trial_folders(folder)
    params, about = checkpoint.read_params(first)
    task = task_of(first, about)
    if task.name != settings.task.name:
        raise ConfigError(
            f'config.task.name is {settings.task.name!r}, but {first} was fine-tuned on '
            f'{task.name!r}: use its recipe'
        )
    share = (about['config'].get('task') or {}).get('dev_share')
    if settings.task.dev_share not in (None, share):
        raise ConfigError(
            f'config.task.dev_share is {settings.task.dev_share:g}, but {first} was trained with '
            f'{share}: rows that it was trained on would be scored; leave it out'
        )
    if share is not None and settings.task.dev_file is None:
        settings = copy.deepcopy(settings)
        settings.task.dev_share = share
    if settings.task.null_threshold is not None:
        task = dataclasses.replace(task, null_threshold=settings.task.null_threshold)
    stored = about['config'].get('model')
    check_stored_model(stored, str(first))
    config = resolve(settings, 'cpu', stored)  # to read files, before a device is looked for
    read = {**splits.read_scored(config, task.known), **splits.read_tests(config, task.known)}
    tuned = open_tuned(first, params, about, settings)._replace(task=task)
    files = {
        name: splits.make_split(
            tuned.config, tuned.tokenizer, tuned.task.features(labelled=False), loaded
        )
        for name, loaded in read.items()
    }
    score = functools.partial(_score_again, files=files, folder=folder, say=say)
    found = [score(tuned, about.get('seed', 0))]
    for where in others:  # the same program: nothing is compiled again
        params, about = checkpoint.read_params(where)
        tuned = tuned._replace(where=where, params=place(tuned.answerer.mesh, params))
        found.append(score(tuned, about.get('seed', 0)))
    headline = predictions.headline(tuned.task)
    on_first_host(
        lambda: results.write_results(folder / EVALUATION, tuned.task.name, headline, found)
    )
    return Evaluated(headline, found, splits.remarks(files.values()))


def _score_again(
    tuned: Tuned, seed: int, files: Mapping[str, Split], folder: epath.Path, say: Say
) -> Trial:
    predicted = {}
    for name, split in files.items():
        predicted[name] = tuned.answerer.predict(tuned.params, tuned.task, split, say, name)
        into = folder / EVALUATION / tuned.where.name
        on_first_host(functools.partial(prediction_files.write, into, name, predicted[name]))
    return predictions.trial(seed, predicted)
