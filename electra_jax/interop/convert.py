"""Converts a checkpoint between our workdirs, Google's files and Hugging Face folders."""

import dataclasses
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from etils import epath

from electra_jax.config import resolve
from electra_jax.config.recipe import recipe
from electra_jax.config.settings import LEFT_TO_DEVICES, ModelConfig
from electra_jax.core import files
from electra_jax.core.complaints import counted
from electra_jax.core.errors import CheckpointError, ConfigError, unknown
from electra_jax.core.trees import count
from electra_jax.interop import probes
from electra_jax.interop.files import CONFIG_FILE, read_json
from electra_jax.interop.projects import READERS, WRITERS, Checkpoint, recorded
from electra_jax.interop.transfer import Report
from electra_jax.train import checkpoint, workdir

OURS = 'ours'
KINDS = (OURS, *sorted(READERS))


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
            f'--{flag} is {value!r}, allowed: KIND:PATH, with KIND one of {", ".join(KINDS)}'
        )
    if kind not in KINDS:
        raise unknown(f'the kind of --{flag}', kind, KINDS)
    return kind, pathlib.Path(path).expanduser()


def convert(
    source: str | None,
    target: str | None,
    tasks: Tasks,
    google: Mapping[str, Any],
    compare: bool = False,
) -> Iterator[str]:
    """Reads the source and writes the target, whole or not at all; yields lines for people.

    Args:
        source: ``'KIND:PATH'`` of what is read.
        target: ``'KIND:PATH'`` of a folder that is new or empty.
        tasks: how fine-tuned models record their tasks.
        google: arguments of `read_google`, of a source that is Google's.
        compare: whether to compare what the model computes with transformers.
    """
    kind, path = parse_end('source', source)
    target_kind, folder = parse_end('target', target)
    folder, inside = folder.resolve(), path.resolve()
    if folder == inside or inside in folder.parents:
        raise CheckpointError(f'--target {folder} is inside --source: name a folder elsewhere')
    files.check_new(folder, '--target')
    if google and kind != 'google':
        raise ConfigError(
            f'--{", --".join(google)}: checkpoints of kind {kind} themselves record their '
            'vocabulary and their model: leave it out'
        )
    found = read_ours(path, tasks) if kind == OURS else READERS[kind](path, **google)
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
    written = Report()
    with files.whole_folder(folder) as fresh:
        if target_kind == OURS:
            written.notes += write_ours(fresh, found, str(source), tasks)
        else:
            written = WRITERS[target_kind](fresh, found)
        if compare:
            yield from _compared({kind: path, target_kind: fresh}.get('huggingface'), found)
    yield f'wrote {target}'
    yield from written.lines()
    if target_kind != 'google':
        yield f'next: {_next_command(target_kind, folder, found)}'


def _compared(folder: pathlib.Path | None, found: Checkpoint) -> Iterator[str]:
    """Compares with a folder of transformers; None: with one that is written for this."""
    from electra_jax.interop import check

    if folder is not None:
        yield from check.against_transformers(folder, found)
        return
    with tempfile.TemporaryDirectory() as made:
        WRITERS['huggingface'](pathlib.Path(made), found)
        yield from check.against_transformers(pathlib.Path(made), found)


def read_ours(path: pathlib.Path, tasks: Tasks) -> Checkpoint:
    """A checkpoint of ours: a workdir (of fine-tuning: its best trial), or a folder in it."""
    given = files.absolute(path)
    folder = tasks.best_trial(given)
    params, about = checkpoint.read_params(folder)
    stored, tokenizer = recorded(about, str(path))
    try:
        objective = str(about['config']['objective']['name'])
    except (KeyError, TypeError) as error:
        raise CheckpointError(f'{path} does not name its objective ({error!r})') from error
    report = Report()
    if folder != given and folder.parent.name == workdir.TRIALS:
        report.notes.append(f'this is its best trial, {folder}')
    found = Checkpoint(
        params, resolve.stored_model(stored), tokenizer, None, None, objective, report, about
    )
    if 'task' not in about:
        return found
    task, labels, notes, record = tasks.head(about['task'], str(folder))
    report.notes += notes
    return dataclasses.replace(found, task=task, labels=labels, record=record)


def write_ours(folder: pathlib.Path, found: Checkpoint, source: str, tasks: Tasks) -> list[str]:
    """Writes a workdir to start from: parameters, config and tokenizer, no optimizer state.

    The tokenizer's own files go there as well, for building a corpus. `source` is recorded. Returns
    notes for people.
    """
    notes: list[str] = []
    tokenizer = found.tokenizer
    assert tokenizer is not None  # `convert` has looked
    about = found.about
    if about is None:
        config = dataclasses.asdict(recipe({'objective': {'name': found.objective}}))
        model = dataclasses.asdict(found.model) | dict.fromkeys(LEFT_TO_DEVICES)
        about = {
            'config': {**config, 'model': model},
            'tokenizer': tokenizer.to_json(),
            'tokenizer_hash': tokenizer.hash,
            'corpora': [],
            'converted_from': source,
        }
        if found.task:
            about['task'], notes = tasks.describe(found)
    checkpoint.write_params(files.absolute(folder), found.params, about)
    tokenizer.save(folder / 'tokenizer')
    return notes


def _next_command(kind: str, folder: pathlib.Path, found: Checkpoint) -> str:
    """A command that uses the result."""
    if kind == OURS and found.task:
        return f'python -m electra_jax.predict --checkpoint={folder} --input=FILE'
    if kind == OURS:
        words = [f'--config.init_from={folder}', '--config.data.path=FOLDER']
        words += _changed_settings(found.model, found.objective)
        return f'python -m electra_jax.main --config=configs/continue_small.py {" ".join(words)}'
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
