"""Fine-tuning: the same task from several seeds, each a trial with its own folder.

The workdir holds trials/0, trials/1, ...: each a checkpoint that is read alone by `predict` and
`--config.job=evaluate`, with its result in result.json, written last. So a trial without one is not
finished, and the same command does it again.
"""

import dataclasses
import shutil
from collections.abc import Mapping
from typing import Any

from etils import epath

from electra_jax.config.fields import Settings
from electra_jax.config.resolve import check_stored_model, resolve
from electra_jax.core import files, trees
from electra_jax.core.errors import CheckpointError, ConfigError
from electra_jax.finetune import loop, predict, report, results
from electra_jax.finetune import split as splits
from electra_jax.finetune import task as tasks
from electra_jax.finetune.kinds.kind import Predictions
from electra_jax.finetune.results import TRIAL_FILE, Results, Trial, on_first_host
from electra_jax.finetune.run import Run, open_run, refuse_steps
from electra_jax.finetune.written import write_json
from electra_jax.init_from import SCRATCH, checked_start, started_from
from electra_jax.parallel.mesh import mesh_line
from electra_jax.runtime import cli, distributed, terminal
from electra_jax.train import parameters, workdir
from electra_jax.train.clock import EVALUATING, SAVING, Clock
from electra_jax.train.heartbeat import watched

_EVALUATION = 'evaluation'  # folder of a workdir


def run(settings: Settings, folder: epath.Path) -> None:
    """Does the job of the settings: fine-tuning, or scoring fine-tuned models again.

    `folder` is the workdir; to fine-tune it need not exist.
    """
    if settings.job == 'evaluate':
        evaluate(settings, folder)
    else:
        fine_tune(open_run(settings, folder))


def fine_tune(run: Run) -> None:
    """Trains every trial that is not finished yet, and prints the results."""
    print_line, folder = terminal.OUT.print, run.folder
    with watched(folder, run.config.health.step_timeout) as clock:
        workdir.describe(folder, run.config, _facts(run))
        workdir.write_parameters(folder, run.program.abstract_state.params, run.program.mesh)
        print_line('\n'.join(report.start_lines(run)))
        trials, stopped_by = run_trials(run, clock)
    if stopped_by:
        print_line(
            f'stopped by {stopped_by}; finished trials, which are kept: {len(trials)}; the one '
            'under way begins again'
        )
        print_line(f'to continue: {cli.same_command()}')
        return
    print_line(clock.goodput_line())
    print_line(f'files: {folder} (results.json, results.md, metrics.jsonl, trials/*/predictions)')
    if run.config.task.save != 'none':
        print_line('\n'.join([*cli.activation(), report.following(folder)]))


def _facts(run: Run) -> dict[str, Any]:
    """What `config.json` keeps of a run besides its settings."""
    params, mesh = run.program.abstract_state.params, run.program.mesh
    of_splits = {'train': run.train, **run.scored, **run.tests}
    return {
        'train_rows': run.train.rows.digest(),
        'devices': mesh_line(mesh),
        'platform': mesh.devices.flat[0].platform,
        'parameters': {name: trees.count(params[name]) for name in params},
        'examples': {name: len(one.loaded.examples) for name, one in of_splits.items()},
        'labels': list(run.task.labels),
    }


def run_trials(run: Run, clock: Clock) -> tuple[list[Trial], str | None]:
    """Runs all trials that are not finished yet, then writes the results of all.

    Returns the finished trials, and the name of the signal that ended them early, if one did. The
    clock counts steps over all trials.
    """
    config, done = run.config, _finished(run)
    first = next((k for k in range(config.trials) if k not in done), config.trials)
    clock.start_from(first * config.total_steps)
    with loop.opened(run.folder, config, first, clock) as tools:
        for number in range(config.trials):
            if number in done:
                tools.log.print(
                    f'trial {number + 1} of {config.trials} is done already'
                    f'{_without_predictions(run, number)}'
                )
                continue
            trial = _run_trial(run, number, tools)
            if trial is None:
                return list(done.values()), tools.stop.name
            done[number] = trial
            _keep_best(run, done)
        trials = [done[number] for number in range(config.trials)]
        _write_summary(run, trials, tools)
    return trials, None


def _without_predictions(run: Run, number: int) -> str:
    """What to type for the predictions that a finished trial was not asked for, if any."""
    folder = run.trial_folder(number) / 'predictions'
    lacking = [name for name in run.tests if not (folder / f'{name}.jsonl').exists()]
    if not lacking:
        return ''
    return f', without predictions of {", ".join(lacking)}: --config.job=evaluate makes them'


def _run_trial(run: Run, number: int, tools: loop.Tools) -> Trial | None:
    """Runs one trial to its end and writes its folder; None: a signal stopped it."""
    seed = loop.seed_of(run.config, number)
    tools.log.print(f'trial {number + 1} of {run.config.trials}, seed {seed}')
    outcome = loop.train(run, number, tools)
    if outcome is None:
        return None
    with tools.clock.during(EVALUATING):
        tested = run.program.answerer.predict(outcome.params, run.tests, tools.log.print)
        predicted = {**outcome.predicted, **tested}
        trial = results.scored(seed, predicted)
    with tools.clock.during(SAVING):
        _save(run, number, outcome, trial, predicted)
    return trial


def _save(
    run: Run,
    number: int,
    outcome: loop.Outcome,
    trial: Trial,
    predicted: Mapping[str, Predictions],
) -> None:
    """Writes a trial's folder; its result last, which makes it a finished one."""
    folder, start = run.trial_folder(number), run.start
    tokenizer, is_fresh = start.tokenizer, start.where is None or not start.params
    on_first_host(lambda: shutil.rmtree(folder, ignore_errors=True))
    if run.config.task.save != 'none':
        about = {
            'config': dataclasses.asdict(run.config),
            'tokenizer': tokenizer.to_json(),
            'tokenizer_hash': tokenizer.hash,
            'task': tasks.to_json(run.task),
            'seed': trial.seed,
            'scores': dict(trial.metrics),
            **(SCRATCH if is_fresh else started_from(start.about, str(start.where))),
        }
        parameters.write_params(folder, outcome.params, about)
    results.write_predictions(folder / 'predictions', predicted)
    content = {
        **trial._asdict(),
        'headline': run.task.headline,
        'history': outcome.history,
        'rows': run.train.rows.digest(),
        'scored': {name: split.digest() for name, split in run.scored.items()},
    }
    on_first_host(lambda: write_json(folder / TRIAL_FILE, content))


def _finished(run: Run) -> dict[int, Trial]:
    """The trials that have a result, by number; other rows than the run's are an error."""
    done = {}
    for number in range(run.config.trials):
        path = run.trial_folder(number) / TRIAL_FILE
        if not path.exists():
            continue
        try:
            content = files.parse_object(path.read_text())
            trial = Trial(content['seed'], content['metrics'], tuple(content['notes']))
            rows, scored = content['rows'], content['scored']
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f'{path} cannot be read ({error!r}): delete {path.parent}, and the same command '
                'does that trial again'
            ) from error
        if rows != run.train.rows.digest():
            raise CheckpointError(
                f'{path.parent} was trained on other rows than those of {run.config.data.path}: '
                'name those files with --config.data.path, or another --workdir'
            )
        for name, split in run.scored.items():
            if scored.get(name) != split.digest():
                raise CheckpointError(
                    f'{path.parent} was scored on another {name} split than that of '
                    f'{split.loaded.where}: name that file, or another --workdir. '
                    'Finished trials are scored on other files with --config.job=evaluate'
                )
        done[number] = trial
    return done


def _keep_best(run: Run, done: Mapping[int, Trial]) -> None:
    """With task.save at 'best', deletes the parameters of all trials but the best so far."""
    if run.config.task.save != 'best':
        return
    best = max(done, key=lambda number: done[number].metrics[run.task.headline])

    def delete() -> None:
        for number in done.keys() - {best}:
            shutil.rmtree(run.trial_folder(number) / parameters.FOLDER, ignore_errors=True)

    on_first_host(delete)


def _write_summary(run: Run, trials: list[Trial], tools: loop.Tools) -> None:
    """Writes and prints the results, and writes the spread over the trials among the metrics."""
    spread = {
        f'{run.metric_name(name)}_{statistic}': value
        for name, summary in results.summarize(trials).items()
        for statistic, value in summary._asdict().items()
        if statistic in ('median', 'mean', 'standard_deviation') and value is not None
    }
    tools.log.write(run.config.total_steps * run.config.trials, spread)
    origin = {'init_from': run.start.where, 'config': dataclasses.asdict(run.config)}
    rows = {name: len(one.loaded.examples) for name, one in {**run.scored, **run.tests}.items()}
    found = Results(run.task, trials, run.trivial, rows)
    found.write(run.folder, origin)
    tools.log.print(found.lines())


# ---------------------------------------------------------------------------------------------
# Finished trials, scored again


def evaluate(settings: Settings, folder: epath.Path) -> list[Trial]:
    """Scores every trial of a fine-tuning workdir on the task's files, and prints the results.

    What bears on the answers is as it was in training, but for `null_threshold` if it is given, and
    for how texts are found.
    Scores and predictions are written below `folder`/evaluation.
    """
    refuse_steps(settings)
    distributed.initialize()
    first, *others = predict.trial_folders(folder)
    params, about = parameters.read_params(first)
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
    _check_share(settings, first, about)
    stored = about['config'].get('model')
    check_stored_model(stored, str(first))
    config = resolve(settings, 'cpu', stored)  # to read files, before a device is looked for
    task = tasks.for_files_of(task, config)
    loaded = {**splits.read_scored(config, task), **splits.read_tests(config, task)}
    start = checked_start(settings, str(first), params, about, has_encoder=False)
    model = predict.open_predictor(start, settings, task)
    made = {
        name: splits.make_split(model.config, model.tokenizer, one) for name, one in loaded.items()
    }
    trials, into = [], folder / _EVALUATION
    for where in (first, *others):
        if where != first:  # the same program: nothing is compiled again
            params, about = parameters.read_params(where)
            model = model._replace(params=predict.put(model.answerer.mesh, params))
        predicted = model.answerer.predict(model.params, made, terminal.OUT.print)
        results.write_predictions(into / where.name, predicted)
        trials.append(results.scored(about.get('seed', 0), predicted))
    scored = {name: one.loaded.examples for name, one in made.items()}
    known = splits.read_known(config, task)
    rows = {name: len(examples) for name, examples in scored.items()}
    found = Results(task, trials, results.trivial(task, known, scored), rows)
    found.write(into, {})
    for line in report.complaints(made):
        terminal.OUT.print(f'  {line}')
    if not known:
        terminal.OUT.print(
            'note: without the training file, trivial answers are the best of these examples'
        )
    terminal.OUT.print(found.lines())
    terminal.OUT.print(f'files: {into} (results.json, results.md, predictions by trial)')
    return trials


def _check_share(settings: Settings, where: epath.Path, about: Mapping[str, Any]) -> None:
    share, asked = (about['config'].get('task') or {}).get('dev_share'), settings.task.dev_share
    if asked != share and settings.task.dev_file is None:
        raise ConfigError(
            f'config.task.dev_share is {asked}, but {where} was trained with {share}: rows that it '
            'was trained on would be scored; give it the same value, or name another file with '
            '--config.task.dev_file'
        )
