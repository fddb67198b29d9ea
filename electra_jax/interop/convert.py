"""Converts a checkpoint between our workdirs, Google's files and Hugging Face folders."""

import dataclasses
import pathlib
import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath

from electra_jax.config import resolve
from electra_jax.config.recipe import recipe
from electra_jax.config.settings import LEFT_TO_DEVICES, ModelConfig
from electra_jax.core import files
from electra_jax.core.complaints import counted
from electra_jax.core.errors import CheckpointError, ConfigError, unknown
from electra_jax.core.trees import count
from electra_jax.interop import card, probes
from electra_jax.interop.checkpoint import Checkpoint, from_record
from electra_jax.interop.files import CONFIG_FILE, read_json
from electra_jax.interop.projects import PASSED_ON, READERS, WRITERS
from electra_jax.interop.transfer import Report
from electra_jax.runtime import terminal
from electra_jax.train import parameters, seals, workdir

OURS = 'ours'
KINDS = {'source': (OURS, *sorted(READERS)), 'target': (OURS, *sorted(WRITERS))}
_FULL_ONLY = (OURS, 'google')  # written in float32 alone
# Kind of a folder that has a model card -> the package that loads it.
_CARDS = {
    'huggingface': 'transformers',
    PASSED_ON: 'electra_jax',
    'sentence_transformers': 'sentence-transformers',
}


class How(NamedTuple):
    """How a checkpoint is written."""

    dtype: str = 'float32'  # of the parameters, one of `files.FLOATS`
    compare: bool = False  # whether to compare what the model computes with transformers
    license: str | None = None  # for the model card
    results: Sequence[str] = ()  # results.json of runs that started from it, for the model card
    revision: str | None = None  # 'step-N': the checkpoint of that step; None: the newest
    average_last: int | None = None  # the mean of so many of the newest; None: one of them
    running_average: bool = False  # the running mean of the parameters in place of them


class Head(NamedTuple):
    """What our checkpoint of a fine-tuned model records about its head."""

    kind: str  # a key of `names.TASK_HEADS`
    labels: list[str] | None  # names of its outputs; None where they have none
    notes: list[str]  # what users of the head in another program must know
    record: dict[str, Any]  # the task itself, in JSON


class Tasks(NamedTuple):
    """What fine-tuning knows about the tasks in our checkpoints."""

    # Folder of a run, a trial or a step -> the folder to read.
    best_trial: Callable[[epath.Path], epath.Path]
    # The task as a checkpoint records it, the checkpoint's name -> its head.
    head: Callable[[Any, str], Head]
    # A fine-tuned checkpoint of another project -> the task as a checkpoint of ours records it, and
    # notes for people.
    describe: Callable[[Checkpoint], tuple[dict[str, Any], list[str]]]


def parse_end(flag: str, value: str | None) -> tuple[str, pathlib.Path]:
    """The kind and the path in ``'KIND:PATH'``; ConfigError if there is no such kind."""
    kind, _, path = (value or '').partition(':')
    if not path:
        raise ConfigError(
            f'--{flag} is {value!r}, allowed: KIND:PATH, with KIND one of {", ".join(KINDS[flag])}'
        )
    if kind not in KINDS[flag]:
        raise unknown(f'the kind of --{flag}', kind, KINDS[flag])
    return kind, pathlib.Path(path).expanduser()


def convert(
    source: str | None,
    target: str | None,
    tasks: Tasks,
    google: Mapping[str, Any],
    how: How = How(),  # noqa: B008 (it never changes)
) -> Iterator[str]:
    """Reads the source and writes the target, whole or not at all; yields lines for people.

    Args:
        source: ``'KIND:PATH'`` of what is read.
        target: ``'KIND:PATH'`` of a folder that is new or empty.
        tasks: how fine-tuned models record their tasks.
        google: arguments of `read_google`, of a source that is Google's.
        how: how it is written.
    """
    kind, path = parse_end('source', source)
    target_kind, folder = parse_end('target', target)
    folder, inside = folder.resolve(), path.resolve()
    if folder == inside or inside in folder.parents:
        raise CheckpointError(f'--target {folder} is inside --source: name a folder elsewhere')
    files.check_new(folder)
    _check(kind, target_kind, google, how)
    path = _of_revision(path, how.revision)
    found = read_ours(path, tasks, how) if kind == OURS else READERS[kind](path, **google)
    found = _with_head(found, tasks, str(path))
    if found.tokenizer is None:
        hint = 'type --vocab=vocab.txt' if kind == 'google' else 'put its vocab.txt there'
        raise CheckpointError(f'{path} comes without a vocabulary: {hint}')
    model = found.model
    layers = counted(model.num_layers, 'layers')
    yield (
        f'read {source}: {count(found.params):,} parameters, {layers} of {model.hidden_size}, '
        f'embeddings of {model.embedding_size}, generator '
        f'{model.generator or "as the objective has it"}, {model.embedding_sharing} embeddings'
    )
    yield from found.report.lines()
    if found.tokenizer_folder is not None:
        yield probes.against_transformers(found.tokenizer_folder, found.tokenizer)
    found, notes = _to_write(found, str(source), tasks, how.dtype)
    run = card.workdir_of(path) if kind == OURS else None
    results = [pathlib.Path(one).expanduser() for one in how.results]
    facts = card.Facts(
        folder.name, _CARDS.get(target_kind, ''), run, how.license, how.revision, results
    )
    with files.whole_folder(folder) as fresh:
        if target_kind == OURS:
            _write_workdir(fresh, found)
            written = Report()
        else:
            written = WRITERS[target_kind](fresh, found)
        written.notes += notes if target_kind in (OURS, PASSED_ON) else []
        if target_kind in _CARDS:
            card.write(fresh, found, facts)
        if how.compare:
            yield from _compared({kind: path, target_kind: fresh}.get('huggingface'), found)
    yield f'wrote {target}'
    yield from written.lines()
    if target_kind in _CARDS:
        stated = how.license or 'no license: --license=NAME states one'
        yield f'its model card is {folder / card.FILE}; it states {stated}'
    if target_kind != 'google':
        yield f'next: {_next_command(target_kind, folder, found)}'
    if target_kind in _CARDS and how.revision:
        yield f'to publish: hf upload OWNER/NAME {folder} --revision={how.revision}'


def _check(kind: str, target_kind: str, google: Mapping[str, Any], how: How) -> None:
    """Refuses flags that the source or the target does not have."""
    if google and kind != 'google':
        raise ConfigError(
            f'--{", --".join(google)}: checkpoints of kind {kind} themselves record their '
            'vocabulary and their model: leave it out'
        )
    if how.dtype != 'float32' and target_kind in _FULL_ONLY:
        raise ConfigError(
            f'--dtype is {how.dtype!r}, but --target of kind {target_kind} is float32 alone, '
            f'allowed with it: {", ".join(_CARDS)}'
        )
    if target_kind not in _CARDS and (how.license or how.results):
        raise ConfigError(
            f'--license and --results are for the model card, which --target of kind {target_kind} '
            f'does not have, allowed with them: {", ".join(_CARDS)}'
        )
    typed = {
        'revision': how.revision,
        'average_last': how.average_last,
        'running_average': how.running_average or None,
    }
    typed = {name: value for name, value in typed.items() if value is not None}
    for name, value in typed.items():
        if kind != OURS:
            raise ConfigError(
                f'--{name} is {value!r}, but checkpoints of kind {kind} have one step and no '
                'running mean: leave it out'
            )
    mean = typed.pop('average_last', None)
    for name, value in typed.items():
        if mean is not None:
            raise ConfigError(
                f'--average_last is {mean} and --{name} is {value!r}: one is the mean of the '
                'newest checkpoints, the other is of one of them: leave one out'
            )


def _of_revision(path: pathlib.Path, revision: str | None) -> pathlib.Path:
    """The folder of the step that is asked for."""
    if revision is None:
        return path
    folder, step = path / parameters.FOLDER, revision.removeprefix('step-')
    steps = seals.steps(files.absolute(folder)) if folder.is_dir() else []
    if not step.isdigit() or int(step) not in steps:
        allowed = ', '.join(f'step-{one}' for one in steps) or 'none, for it holds no checkpoint'
        raise CheckpointError(f'--revision is {revision!r}, allowed in {path}: {allowed}')
    return folder / step


def _to_write(
    found: Checkpoint, source: str, tasks: Tasks, dtype: str
) -> tuple[Checkpoint, list[str]]:
    """The checkpoint with what ours record, and rounded to the dtype; notes for people."""
    about = found.about
    notes: list[str] = []
    if about is None:
        about, notes = _about(found, source, tasks)
    params = found.params
    if dtype != 'float32':
        # Whatever is written or compared is what a reader will have.
        params = jax.tree.map(lambda x: np.asarray(x, dtype).astype(np.float32), dict(params))
    return dataclasses.replace(found, about=about, params=params, dtype=dtype), notes


def _compared(folder: pathlib.Path | None, found: Checkpoint) -> Iterator[str]:
    """Compares with a folder of transformers; None: with one that is written for this."""
    from electra_jax.interop import check

    with tempfile.TemporaryDirectory() as made:
        if folder is None:
            folder = pathlib.Path(made)
            WRITERS['huggingface'](folder, found)
        with terminal.alive('comparing with transformers', terminal.ERR):
            lines = list(check.against_transformers(folder, found))
    yield from lines


def read_ours(path: pathlib.Path, tasks: Tasks, how: How) -> Checkpoint:
    """A checkpoint of ours: a workdir (of fine-tuning: its best trial), or a folder in it.

    Or, as `how` has it, the mean of a workdir's newest checkpoints, or the running mean.
    """
    given, average_last = files.absolute(path), how.average_last
    folder = tasks.best_trial(given)
    if average_last is None:
        params, about = parameters.read_params(folder, how.running_average)
    else:
        params, about = parameters.read_mean(folder, average_last)
    about.pop(parameters.KEPT, None)  # of that workdir; what is written is no such checkpoint
    found = from_record(params, about, str(path))
    if average_last is not None:
        steps = ', '.join(map(str, about['averaged_steps']))
        found.report.notes.append(f'the parameters are the mean of those after the steps {steps}')
    if folder != given and folder.parent.name == workdir.TRIALS:
        found.report.notes.append(f'this is its best trial, {folder}')
    return found


def _with_head(found: Checkpoint, tasks: Tasks, where: str) -> Checkpoint:
    """A checkpoint of ours with what it records of its task, if it has one."""
    if found.about is None or 'task' not in found.about:
        return found
    task, labels, notes, record = tasks.head(found.about['task'], where)
    found.report.notes.extend(notes)
    return dataclasses.replace(found, task=task, labels=labels, record=record)


def _write_workdir(folder: pathlib.Path, found: Checkpoint) -> None:
    """Writes a workdir to start from: parameters, config and tokenizer, no optimizer state.

    The tokenizer's own files go there as well, for building a corpus.
    """
    assert found.tokenizer is not None and found.about is not None
    parameters.write_params(files.absolute(folder), found.params, found.about)
    found.tokenizer.save(folder / 'tokenizer')


def _about(found: Checkpoint, source: str, tasks: Tasks) -> tuple[dict[str, Any], list[str]]:
    """What a checkpoint of ours records, of one from elsewhere; and notes for people."""
    tokenizer = found.tokenizer
    assert tokenizer is not None  # `convert` has looked
    config = dataclasses.asdict(recipe({'objective': {'name': found.objective}}))
    model = dataclasses.asdict(found.model) | dict.fromkeys(LEFT_TO_DEVICES)
    about: dict[str, Any] = {
        'config': {**config, 'model': model},
        'tokenizer': tokenizer.to_json(),
        'tokenizer_hash': tokenizer.hash,
        'corpora': [],
        'converted_from': source,
    }
    if not found.task:
        return about, []
    about['task'], notes = tasks.describe(found)
    return about, notes


def _next_command(kind: str, folder: pathlib.Path, found: Checkpoint) -> str:
    """A command that uses the result."""
    if kind == PASSED_ON or (kind == OURS and found.task):
        name = shlex.quote(f'{kind}:{folder}' if kind == PASSED_ON else str(folder))
        return f'python -m electra_jax.predict --checkpoint={name} --input=FILE'
    if kind == 'sentence_transformers':
        return (
            'python -c "from sentence_transformers import SentenceTransformer as S; '
            f"print(S('{folder}').encode(['A text.']).shape)\""
        )
    if kind == OURS:
        words = [f'--config.init_from={folder}', '--config.data.path=FOLDER']
        words += [*_changed_settings(found.model, found.objective), f'--workdir={folder}-longer']
        return f'python -m electra_jax.main --config=configs/continue_small.py {shlex.join(words)}'
    if (folder / 'discriminator').is_dir():
        folder = folder / 'discriminator'
    name = read_json(folder / CONFIG_FILE)['architectures'][0]
    return (
        f'python -c "from transformers import {name}, AutoTokenizer; '
        f"AutoTokenizer.from_pretrained('{folder}'); {name}.from_pretrained('{folder}')\""
    )


def _changed_settings(model: ModelConfig, objective: str) -> list[str]:
    """The settings with which a recipe of the small size trains this model."""
    words = [] if objective == 'electra' else [f'--config.objective.name={objective}']
    words += [] if model.size == 'small' else [f'--config.model.size={model.size}']
    named = resolve.model_of({'size': model.size, 'generator': 'separate'})
    for field in dataclasses.fields(ModelConfig):
        value, left = getattr(model, field.name), field.name in LEFT_TO_DEVICES
        if not left and value is not None and value != getattr(named, field.name):
            words.append(f'--config.model.{field.name}={value}')
    return words
