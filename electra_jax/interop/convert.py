"""Converts a checkpoint between our workdirs, Google's files and Hugging Face folders."""

import contextlib
import dataclasses
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from etils import epath

from electra_jax.config import resolve
from electra_jax.config.recipe import recipe
from electra_jax.config.settings import LEFT_TO_DEVICES, ModelConfig
from electra_jax.core.errors import CheckpointError, ConfigError, unknown
from electra_jax.core.trees import Tree, count
from electra_jax.interop import load, names, save
from electra_jax.interop.load import Loaded
from electra_jax.interop.transfer import Moved, Report
from electra_jax.tokenizers import load as tokenizers
from electra_jax.tokenizers.api import Tokenizer
from electra_jax.train import checkpoint, workdir

OURS = 'ours'
KINDS = (OURS, *sorted(load.LOADERS))

# What a conversion writes, as patterns: only a folder of such files is ever replaced.
WRITTEN = (
    'checkpoints', 'checkpoint', '*.index', '*.data-*-of-*', 'discriminator', 'generator',
    'config.json', '*.safetensors', 'tokenizer.json', 'tokenizer_config.json', 'vocab.txt',
    'spiece.model', 'tokenizer',
)  # fmt: skip


class Options(NamedTuple):
    """How to convert.

    Attributes:
        overwrite: whether a checkpoint in the target is replaced.
        vocab, lower_case, model: as in `load.load_google`.
        task_head: what the head of a fine-tuned model is for, where the source does not record it.
    """

    overwrite: bool = False
    vocab: str | None = None
    lower_case: bool | None = None
    model: ModelConfig | None = None
    task_head: str | None = None


class Head(NamedTuple):
    """What our checkpoint of a fine-tuned model records about its head.

    Attributes:
        kind: a key of `names.TASK_HEADS`.
        labels: names of its outputs; None where they have none.
        notes: what users of the head in another program must know.
    """

    kind: str
    labels: list[str] | None
    notes: list[str]


class Tasks(NamedTuple):
    """What fine-tuning knows about the tasks in our checkpoints.

    Attributes:
        best_trial: folder of a run, a trial or a step -> the folder to read.
        head: the task as a checkpoint records it, the checkpoint's name -> its head.
        describe: kind of task, names of its outputs (may be empty), size of the head's output, the
            model -> the task as a checkpoint of ours records it.
    """

    best_trial: Callable[[epath.Path], epath.Path]
    head: Callable[[Any, str], Head]
    describe: Callable[[str, tuple[str, ...], int, ModelConfig], dict[str, Any]]


class End(NamedTuple):
    """One end of a conversion."""

    kind: str
    path: pathlib.Path

    def __str__(self) -> str:
        return f'{self.kind}:{self.path}'


def convert(source: End, target: End, options: Options, tasks: Tasks) -> Iterator[str]:
    """Reads the source and writes the target, whole or not at all.

    Args:
        source: what to read.
        target: a folder that is new, empty, or (with `options.overwrite`) a converted checkpoint.
        options: how to convert.
        tasks: how fine-tuned models record their tasks.

    Yields:
        Lines for people: what was read, written and left out, and what to type next.

    Raises:
        UserError: the source cannot be read or the target cannot be written.
    """
    _check_ends(source, target, options.overwrite)
    if source.kind == OURS:
        loaded = read_ours(source.path, options.task_head, tasks)
    else:
        loaded = _read_foreign(source, options)
    if loaded.tokenizer is None:
        hint = 'type --vocab=vocab.txt' if source.kind == 'google' else 'put its vocab.txt there'
        raise CheckpointError(f'{source.path} comes without a vocabulary: {hint}')
    yield f'read {source}: {count(loaded.params):,} parameters, {_model_line(loaded.model)}'
    yield from _report_lines(loaded.report, foreign=source.kind != OURS)
    with _replaced(target.path) as fresh:
        if target.kind == OURS:
            report = write_ours(fresh, loaded, loaded.tokenizer, str(source), tasks)
        else:
            model = save.Model(
                loaded.params, loaded.model, loaded.tokenizer, loaded.task, loaded.labels
            )
            report = save.save_foreign(target.kind, fresh, model)
    yield f'wrote {target}'
    yield from _report_lines(report, foreign=False)
    yield f'next: {_next_command(target, loaded)}'


def parse_end(flag: str, value: str | None) -> End:
    """The kind and the path in ``'KIND:PATH'``.

    Raises:
        ConfigError: the flag has another form, or there is no such kind.
    """
    kind, _, path = (value or '').partition(':')
    if not path:
        raise ConfigError(
            f'--{flag} is {value!r}, allowed: KIND:PATH, with KIND one of {", ".join(KINDS)}'
        )
    if kind not in KINDS:
        raise unknown(f'the kind of --{flag}', kind, KINDS)
    return End(kind, pathlib.Path(path).expanduser())


def _check_ends(source: End, target: End, overwrite: bool) -> None:
    """Refuses a conversion that changes nothing or would destroy something."""
    if source.kind == target.kind != OURS:
        raise ConfigError(f'--source and --target are both of kind {source.kind}: just copy it')
    one, other = source.path.resolve(), target.path.resolve()
    if one == other or one in other.parents or other in one.parents:
        raise ConfigError(
            f'--source {source.path} and --target {target.path} are the same folder, or one is '
            'inside the other: name another --target'
        )
    if target.path.exists() and not target.path.is_dir():
        raise CheckpointError(f'{target.path} is a file, allowed: a folder, new or empty')
    present = sorted(child.name for child in target.path.iterdir()) if target.path.is_dir() else []
    if present and not overwrite:
        raise CheckpointError(
            f'{target.path} is not empty: name another --target, or add --overwrite to replace it'
        )
    others = [n for n in present if not any(pathlib.PurePath(n).match(p) for p in WRITTEN)]
    if others:
        raise CheckpointError(
            f'{target.path} holds more than a converted checkpoint ({", ".join(others[:5])}): it '
            'is not replaced, even with --overwrite; name another --target'
        )


def _read_foreign(source: End, options: Options) -> Loaded:
    if source.kind == 'google':
        return load.load_google(source.path, options.vocab, options.lower_case, options.model)
    if options.vocab or options.lower_case is not None or options.model:
        raise ConfigError(
            'a Hugging Face folder itself records its vocabulary and its model: leave out '
            '--vocab, --lower_case and --config'
        )
    return load.LOADERS[source.kind](source.path)


def read_ours(path: pathlib.Path, task_head: str | None, tasks: Tasks) -> Loaded:
    """A checkpoint of ours: a workdir, its checkpoints/ or one step's folder.

    Args:
        path: of a fine-tuning workdir the best trial is read.
        task_head: what a head is for, where the checkpoint does not record it.
        tasks: how fine-tuned models record their tasks.

    Raises:
        CheckpointError: there is none, or another version wrote it.
    """
    given = epath.Path(path).resolve()
    folder = tasks.best_trial(given)
    params, about = checkpoint.read_params(folder)
    try:
        stored = about['config']['model']
        resolve.check_stored_model(stored, str(path))
        newer = stored.keys() - {field.name for field in dataclasses.fields(ModelConfig)}
        if newer:
            raise KeyError(*newer)
        model = resolve.stored_model(stored)
        objective = about['config']['objective']['name']
        tokenizer = tokenizers.from_json(about['tokenizer'], f'the tokenizer of {path}')
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f'the checkpoint in {path} was written by another version of this program: '
            f'its settings lack or have {error}'
        ) from error
    report = Report(moved=_moved(params))
    if folder != given and folder.parent.name == workdir.TRIALS:
        report.notes.append(f'this is its best trial, {folder}')
    labels = None
    if 'task' in about:
        task_head, labels, notes = tasks.head(about['task'], str(folder))
        report.notes += notes
    return Loaded(params, model, objective, tokenizer, task_head, labels, report, about)


@contextlib.contextmanager
def _replaced(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a new folder next to `path`, which takes its place if nothing fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh, old = (path.with_name(f'.{path.name}.{word}') for word in ('converting', 'replaced'))
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        yield fresh
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
            path.rename(old)
        fresh.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def write_ours(
    folder: pathlib.Path, loaded: Loaded, tokenizer: Tokenizer, source: str, tasks: Tasks
) -> Report:
    """Writes a workdir to start from: parameters, config and tokenizer, no optimizer state.

    Args:
        folder: to write; the tokenizer's own files go there as well, for building a corpus.
        loaded: what was read.
        tokenizer: the checkpoint's.
        source: what was converted; recorded in the checkpoint.
        tasks: describes the task of a head.
    """
    config = workdir.as_json(recipe({'objective': {'name': loaded.objective}}))
    how = dict.fromkeys(LEFT_TO_DEVICES)
    about = loaded.about or {
        'config': {**config, 'model': {**dataclasses.asdict(loaded.model), **how}},
        'tokenizer': tokenizer.to_json(),
        'tokenizer_hash': tokenizer.hash,
        'corpora': [],
        'converted_from': source,
    }
    if loaded.task and 'task' not in about:
        C = len(loaded.params['task_head']['output']['bias'])
        task = tasks.describe(loaded.task, tuple(loaded.labels or ()), C, loaded.model)
        about = {**about, 'task': task}
    checkpoint.write_params(epath.Path(folder).resolve(), loaded.params, about)
    tokenizer.save(folder / 'tokenizer')
    return Report(moved=_moved(loaded.params))


def _moved(params: Mapping[str, Tree]) -> list[Moved]:
    return [Moved(name, '', 0, count(part)) for name, part in params.items()]


def _report_lines(report: Report, foreign: bool) -> Iterator[str]:
    """A line for each part, then what was not converted."""
    for moved in report.moved:
        theirs = f'{moved.theirs or "-":<34} {moved.arrays:>4} arrays' if moved.arrays else ''
        yield f'  {moved.ours:<22} {moved.numbers:>13,} numbers   {theirs}'.rstrip()
    if report.missing and foreign:
        yield f'  missing there: {", ".join(report.missing)} (starts fresh in training)'
    for what in dict.fromkeys(report.left_out.values()):
        left = [name for name, why in report.left_out.items() if why == what]
        shown = left[0] if len(left) == 1 else f'{len(left)} arrays such as {left[0]}'
        yield f'  left out: {shown}: {what}'
    for note in report.notes:
        yield f'  note: {note}'


def _model_line(model: ModelConfig) -> str:
    return (
        f'{model.num_layers} layers of {model.hidden_size}, embeddings of {model.embedding_size}, '
        f'generator {model.generator or "as the objective has it"}, {model.embedding_sharing} '
        'embeddings'
    )


def _next_command(target: End, loaded: Loaded) -> str:
    """A command that uses the result."""
    folder = target.path
    if target.kind == OURS and loaded.task:
        return f'python -m electra_jax.predict --checkpoint={folder} --input=FILE'
    if target.kind == OURS:
        words = [f'--config.init_from={folder}', '--config.data.path=FOLDER']
        words += _changed_settings(loaded.model, loaded.objective)
        return f'python -m electra_jax.main --config=configs/continue_small.py {" ".join(words)}'
    if target.kind == 'google':
        listed = f"print(*tensorflow.train.list_variables('{folder}'), sep=chr(10))"
        return f'python -c "import tensorflow; {listed}"'
    if (folder / 'discriminator').is_dir():
        folder = folder / 'discriminator'
    model = names.CLASS_OF[loaded.task] if loaded.task else 'AutoModelForPreTraining'
    return (
        f'python -c "from transformers import {model}, AutoTokenizer; '
        f"AutoTokenizer.from_pretrained('{folder}'); {model}.from_pretrained('{folder}')\""
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
