"""The trials of a fine-tuning workdir, scored again."""

import copy
import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

from etils import epath

from electra_jax.config.fields import Settings
from electra_jax.config.resolve import check_stored_model, resolve
from electra_jax.core.errors import CheckpointError, ConfigError
from electra_jax.finetune import predict, report, results
from electra_jax.finetune import split as splits
from electra_jax.finetune import task as tasks
from electra_jax.finetune.job import on_first_host
from electra_jax.finetune.kinds.kind import Task
from electra_jax.finetune.kinds.table import KINDS
from electra_jax.finetune.predict import Predictor
from electra_jax.finetune.program import Report, silent
from electra_jax.finetune.results import Trial
from electra_jax.finetune.split import Split
from electra_jax.runtime import distributed
from electra_jax.train import checkpoint

EVALUATION = 'evaluation'  # folder of a workdir


class Evaluated(NamedTuple):
    """A workdir's trials scored again.

    Attributes:
        headline: 'SPLIT/METRIC' that stands for the task.
        trials: their new results.
        complaints: about rows of the files, for people.
    """

    headline: str
    trials: list[Trial]
    complaints: list[str]


def evaluate(settings: Settings, folder: epath.Path, report_line: Report = silent) -> Evaluated:
    """Scores every trial of a fine-tuning workdir on the task's files.

    What bears on the answers is as it was in training, but for `null_threshold` if it is given.
    Scores and predictions are written below `folder`/evaluation.

    Args:
        settings: as typed.
        folder: the workdir.
        report_line: is handed lines that show the progress.

    Raises:
        UserError: there is no trial, or the files cannot be used.
    """
    distributed.initialize()
    first, *others = predict.trial_folders(folder)
    params, about = checkpoint.read_params(first)
    task = trained_task(first, about)
    if task.name != settings.task.name:
        raise ConfigError(
            f'config.task.name is {settings.task.name!r}, but {first} was fine-tuned on '
            f'{task.name!r}: use its recipe'
        )
    settings = _with_trained_share(settings, first, about)
    stored = about['config'].get('model')
    check_stored_model(stored, str(first))
    config = resolve(settings, 'cpu', stored)  # to read files, before a device is looked for
    task = tasks.for_files_of(task, config)
    loaded = {**splits.read_scored(config, task), **splits.read_tests(config, task)}
    model = predict.open_predictor(first, params, about, settings)._replace(task=task)
    files = {
        name: splits.make_split(model.config, model.tokenizer, task, one, labelled=False)
        for name, one in loaded.items()
    }
    score = functools.partial(
        _score_again, files=files, folder=folder / EVALUATION, report_line=report_line
    )
    trials = [score(model, about.get('seed', 0))]
    for where in others:  # the same program: nothing is compiled again
        params, about = checkpoint.read_params(where)
        placed = predict.put(model.answerer.mesh, params)
        trials.append(score(model._replace(where=where, params=placed), about.get('seed', 0)))
    on_first_host(
        lambda: results.write_results(folder / EVALUATION, task.name, task.headline, trials)
    )
    return Evaluated(task.headline, trials, report.complaints(files.values()))


def trained_task(where: epath.Path, about: Mapping[str, Any]) -> Task:
    """What a checkpoint was fine-tuned on.

    Raises:
        CheckpointError: it was not fine-tuned, or does not describe its task whole.
    """
    if 'task' not in about:
        raise CheckpointError(
            f'{where} holds a model that was not fine-tuned: fine-tune it first '
            f'(--config=configs/finetune/... --config.init_from={where})'
        )
    return tasks.from_json(about['task'], str(where))


def _with_trained_share(
    settings: Settings, where: epath.Path, about: Mapping[str, Any]
) -> Settings:
    """The settings with the share of training rows that training held out, if it did."""
    share, asked = (about['config'].get('task') or {}).get('dev_share'), settings.task.dev_share
    if asked not in (None, share):
        raise ConfigError(
            f'config.task.dev_share is {asked:g}, but {where} was trained with {share}: rows that '
            'it was trained on would be scored; leave it out'
        )
    if share is None or settings.task.dev_file is not None:
        return settings
    settings = copy.deepcopy(settings)
    settings.task.dev_share = share
    return settings


def _score_again(
    model: Predictor,
    seed: int,
    files: Mapping[str, Split],
    folder: epath.Path,
    report_line: Report,
) -> Trial:
    kind, predicted = KINDS[model.task.kind], {}
    for name, split in files.items():
        predicted[name] = model.answerer.predict(model.params, model.task, split, report_line, name)
        into = folder / model.where.name
        on_first_host(
            functools.partial(results.write_predictions, into, name, kind, predicted[name])
        )
    return results.scored(kind, seed, predicted)
