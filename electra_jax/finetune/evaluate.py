"""The trials of a fine-tuning workdir, scored again."""

import copy
from collections.abc import Mapping
from typing import Any

from etils import epath

from electra_jax.config.fields import Settings
from electra_jax.config.resolve import check_stored_model, resolve
from electra_jax.core.errors import CheckpointError, ConfigError
from electra_jax.finetune import predict, report, results
from electra_jax.finetune import split as splits
from electra_jax.finetune import task as tasks
from electra_jax.finetune.kinds.table import KINDS
from electra_jax.finetune.results import Trial
from electra_jax.runtime import distributed, terminal
from electra_jax.train import checkpoint

EVALUATION = 'evaluation'  # folder of a workdir


def evaluate(settings: Settings, folder: epath.Path) -> list[Trial]:
    """Scores every trial of a fine-tuning workdir on the task's files, and prints the results.

    What bears on the answers is as it was in training, but for `null_threshold` if it is given.
    Scores and predictions are written below `folder`/evaluation.
    """
    distributed.initialize()
    first, *others = predict.trial_folders(folder)
    params, about = checkpoint.read_params(first)
    if 'task' not in about:
        raise CheckpointError(
            f'{first} holds a model that was not fine-tuned: fine-tune it first '
            f'(--config=configs/finetune/... --config.init_from={first})'
        )
    task = tasks.from_json(about['task'], str(first))
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
    model = predict.open_predictor(first, params, about, settings)
    files = {
        name: splits.make_split(model.config, model.tokenizer, task, one, labelled=False)
        for name, one in loaded.items()
    }
    trials, kind, into = [], KINDS[task.kind], folder / EVALUATION
    for where in (first, *others):
        if where != first:  # the same program: nothing is compiled again
            params, about = checkpoint.read_params(where)
            model = model._replace(params=predict.put(model.answerer.mesh, params))
        predicted = model.answerer.predict(model.params, files, terminal.OUT.print)
        results.write_predictions(into / where.name, kind, predicted)
        trials.append(results.scored(kind, about.get('seed', 0), predicted))
    results.write_results(into, task.name, task.headline, trials)
    for line in report.complaints(files.values()):
        terminal.OUT.print(line)
    terminal.OUT.print(results.result_lines(task.headline, trials))
    terminal.OUT.print(f'files: {into} (results.json, results.md, predictions by trial)')
    return trials


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
