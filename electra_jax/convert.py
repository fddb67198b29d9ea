"""The door to other projects' checkpoints: ``--source=KIND:PATH --target=KIND:PATH``.

``python -m electra_jax.convert --source=google:electra_small --target=ours:runs/from_google``:
KIND is `google` (TensorFlow checkpoints of google-research/electra), `huggingface` (folders of
transformers' Electra classes) or `ours` (a workdir). Any kind becomes any other, and
`ours` a workdir without the optimizer's state, a third of the size, to hand on.
"""

import dataclasses
import pathlib
import shutil
from typing import NamedTuple

from absl import flags as absl_flags
from etils import epath

from electra_jax.config import checks, resolve
from electra_jax.config.settings import (
    LEFT_TO_DEVICES,
    Config,
    DataConfig,
    ModelConfig,
    ObjectiveConfig,
    TaskConfig,
)
from electra_jax.core.errors import CheckpointError, ConfigError, unknown
from electra_jax.core.trees import count
from electra_jax.finetune import known as table
from electra_jax.finetune import predict, readers
from electra_jax.finetune import task as trained
from electra_jax.finetune.files import tag_schemes
from electra_jax.interop import load, names, save
from electra_jax.interop.transfer import Moved, Report
from electra_jax.runtime import cli
from electra_jax.tokenizers import load as tokenizers
from electra_jax.train import checkpoint, workdir

SOURCE = absl_flags.DEFINE_string('source', None, 'KIND:PATH of the checkpoint to read')
TARGET = absl_flags.DEFINE_string('target', None, 'KIND:PATH of the checkpoint to write')
VOCAB = absl_flags.DEFINE_string(
    'vocab', None, 'google: the vocab.txt, where it is not beside the checkpoint'
)
LOWER_CASE = absl_flags.DEFINE_bool(
    'lower_case', None, 'google: whether text is lower-cased; whether the pieces are, if not given'
)
OVERWRITE = absl_flags.DEFINE_bool('overwrite', False, 'replace a checkpoint that is there already')
TASK_HEAD = absl_flags.DEFINE_enum(
    'task_head', None, sorted(names.TASK_HEADS), 'what the head of a fine-tuned model is for'
)
CONFIG = cli.config_flag()  # google: the model, where shapes do not tell it

OURS = 'ours'
KINDS = (OURS, *sorted(load.LOADERS))

# Kind of task -> its entry in tasks.table for data of one's own.
OWN_TASKS = {
    'classification': 'text',
    'regression': 'text_regression',
    'tagging': 'tagging',
    'spans': 'spans',
}

# What a conversion writes, as patterns: --overwrite replaces a folder of such files only.
WRITTEN = (
    'checkpoints', 'checkpoint', '*.index', '*.data-*-of-*', 'discriminator', 'generator',
    'config.json', '*.safetensors', 'tokenizer.json', 'tokenizer_config.json', 'vocab.txt',
    'spiece.model', 'tokenizer',
)  # fmt: skip


class Place(NamedTuple):
    """One end of the conversion."""

    kind: str
    path: pathlib.Path

    def __str__(self) -> str:
        return f'{self.kind}:{self.path}'


def main() -> None:
    """Reads the source, writes the target whole or not at all, and says what went where."""
    source, target = parse('source', SOURCE.value), parse('target', TARGET.value)
    check_ends(source, target)
    loaded = read(source)
    print(f'read {source}: {count(loaded.params):,} parameters, {model_line(loaded.model)}')
    print_report(loaded.report, 'missing there' if source.kind != OURS else '')
    written = write(source, target, loaded)
    print(f'wrote {target}')
    print_report(written, '')
    print(f'next: {next_step(target, loaded)}')


def parse(flag: str, value: str | None) -> Place:
    """The kind and the path in ``'KIND:PATH'``.

    Raises:
        ConfigError: with the kinds there are.
    """
    kind, _, path = (value or '').partition(':')
    if not path:
        raise ConfigError(
            f'--{flag} is {value!r}, allowed: KIND:PATH, with KIND one of {", ".join(KINDS)}'
        )
    if kind not in KINDS:
        raise unknown(f'the kind of --{flag}', kind, KINDS)
    return Place(kind, pathlib.Path(path).expanduser())


def check_ends(source: Place, target: Place) -> None:
    """Refuses a conversion that changes nothing or would destroy something.

    Raises:
        ConfigError: both ends are of one foreign kind, or in one folder.
        CheckpointError: the target holds something.
    """
    if source.kind == target.kind != OURS:
        raise ConfigError(f'--source and --target are both of kind {source.kind}: just copy it')
    one, other = source.path.resolve(), target.path.resolve()
    if one == other or one in other.parents or other in one.parents:
        raise ConfigError(f'--target {target.path} and --source {source.path} lie in one another')
    if target.path.is_dir():
        inside = sorted(child.name for child in target.path.iterdir())
    elif target.path.exists():
        raise CheckpointError(f'{target.path} is a file, allowed: a folder, new or empty')
    else:
        inside = []
    if inside and not OVERWRITE.value:
        raise CheckpointError(
            f'{target.path} is not empty: name another --target, or add --overwrite to replace it'
        )
    kept = [n for n in inside if not any(pathlib.PurePath(n).match(p) for p in WRITTEN)]
    if kept:
        raise CheckpointError(
            f'{target.path} holds more than a converted checkpoint ({", ".join(kept[:5])}): it is '
            'not replaced, even with --overwrite; name another --target'
        )


def read(source: Place) -> load.Loaded:
    """The source in our terms.

    Raises:
        UserError: it cannot be read, or the settings to read it with make no sense.
    """
    if source.kind == OURS:
        return read_ours(source.path)
    config = cli.given_config(CONFIG)
    if source.kind == 'google':
        model = config.model if config else None
        loaded = load.load_google(source.path, VOCAB.value, LOWER_CASE.value, model)
    elif config or VOCAB.value or LOWER_CASE.value is not None:
        raise ConfigError(
            'a Hugging Face folder says itself what its vocabulary and its model are: leave out '
            '--vocab, --lower_case and --config'
        )
    else:
        loaded = load.load_huggingface(source.path)
    if loaded.tokenizer is None:
        hint = 'type --vocab=vocab.txt' if source.kind == 'google' else 'put its vocab.txt there'
        raise CheckpointError(f'there is no vocabulary beside {source.path}: {hint}')
    return loaded


def read_ours(path: pathlib.Path) -> load.Loaded:
    """A workdir, its checkpoints/ or one step's folder.

    Raises:
        CheckpointError: there is none, or it was written by another version.
    """
    folder = predict.best_folder(epath.Path(path).resolve())
    params, about = checkpoint.read_params(folder)
    try:
        checks.check_stored_model(about['config']['model'], str(path))
        model = ModelConfig(**about['config']['model'])
        objective = about['config']['objective']['name']
        tokenizer = tokenizers.from_json(about['tokenizer'], f'the tokenizer of {path}')
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f'the checkpoint in {path} was written by another version of this program: '
            f'its settings lack or have {error}'
        ) from error
    report = Report(moved=[Moved(name, '', 0, count(part)) for name, part in params.items()])
    if folder.parent.name == workdir.TRIALS and folder != epath.Path(path).resolve():
        report.notes.append(f'this is its best trial, {folder}')
    kind, labels = TASK_HEAD.value, None
    if 'task' in about:
        task = trained.from_json(about['task'], str(folder))
        kind, labels = task.kind, list(task.labels) or None
        report.notes += task_notes(task)
    return load.Loaded(params, model, objective, tokenizer, kind, labels, report, about)


def task_notes(task: trained.TrainedTask) -> list[str]:
    """What someone must know who uses the head elsewhere."""
    notes = []
    if task.features(labelled=False).one_type and task.kind == 'tagging':
        notes.append('trained with token type 1 throughout: pass token_type_ids of ones')
    if task.score_range not in (None, (0.0, 1.0)):
        low, high = task.score_range
        notes.append(f'its output is the score scaled from {low:g}..{high:g} to 0..1')
    return notes


def write(source: Place, target: Place, loaded: load.Loaded) -> Report:
    """Writes beside the target, then moves it there: a target is whole or not there at all.

    Raises:
        UserError: the model has no place in the target's format.
    """
    target.path.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.path.with_name(f'.{target.path.name}.converting')
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        if target.kind == OURS:
            report = write_ours(source, fresh, loaded)
        else:
            model = save.Model(
                loaded.params, loaded.model, loaded.tokenizer, loaded.task, loaded.labels
            )
            report = save.save_foreign(target.kind, fresh, model)
        if target.path.exists():
            old = target.path.with_name(f'.{target.path.name}.replaced')
            shutil.rmtree(old, ignore_errors=True)
            target.path.rename(old)
            fresh.rename(target.path)
            shutil.rmtree(old)
        else:
            fresh.rename(target.path)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return report


def write_ours(source: Place, folder: pathlib.Path, loaded: load.Loaded) -> Report:
    """A workdir to start from: parameters, config and tokenizer, no optimizer state.

    The tokenizer's own files are beside it, for building a corpus.
    """
    config = Config(model=loaded.model, objective=ObjectiveConfig(name=loaded.objective))
    about = loaded.about or {
        'config': dataclasses.asdict(config),
        'tokenizer': loaded.tokenizer.to_json(),
        'tokenizer_hash': loaded.tokenizer.hash,
        'corpora': [],
        'converted_from': str(source),
    }
    if loaded.task and 'task' not in about:
        about = {**about, 'task': trained.to_json(describe_task(loaded))}
    checkpoint.write_params(epath.Path(folder).resolve(), loaded.params, about)
    loaded.tokenizer.save(folder / 'tokenizer')
    return Report(moved=[Moved(name, '', 0, count(part)) for name, part in loaded.params.items()])


def describe_task(loaded: load.Loaded) -> trained.TrainedTask:
    """The task of a foreign fine-tuned model, so that `predict` can use its head."""
    name = OWN_TASKS[loaded.task]
    labels = tuple(loaded.labels or ()) if loaded.task in ('classification', 'tagging') else ()
    if not labels and loaded.task in ('classification', 'tagging'):
        C = len(loaded.params['task_head']['output']['bias'])
        labels = tuple(f'LABEL_{i}' for i in range(C))
    scheme = tag_schemes.of_classes(labels) if loaded.task == 'tagging' else None
    known = readers.Known(labels, scheme, (0.0, 1.0) if loaded.task == 'regression' else None)
    length = min(table.get(name).row_length, loaded.model.max_positions)
    config = Config(
        data=DataConfig(row_length=length), task=TaskConfig(name=name, head='huggingface')
    )
    return trained.settle(config, known)


def print_report(report: Report, missing: str) -> None:
    """A line for each part, then what was not moved."""
    for moved in report.moved:
        there = f'{moved.theirs or "-":<34} {moved.arrays:>4} arrays' if moved.arrays else ''
        print(f'  {moved.ours:<22} {moved.numbers:>13,} numbers   {there}'.rstrip())
    if report.missing and missing:
        print(f'  {missing}: {", ".join(report.missing)} (starts fresh in training)')
    for what in dict.fromkeys(report.left_out.values()):
        found = [name for name, why in report.left_out.items() if why == what]
        shown = found[0] if len(found) == 1 else f'{len(found)} arrays such as {found[0]}'
        print(f'  left out: {shown}: {what}')
    for note in report.notes:
        print(f'  note: {note}')


def model_line(model: ModelConfig) -> str:
    """The sizes that tell models apart."""
    return (
        f'{model.num_layers} layers of {model.hidden_size}, embeddings of {model.embedding_size}, '
        f'generator {model.generator or "as the objective has it"}, {model.embedding_sharing} '
        'embeddings'
    )


def next_step(target: Place, loaded: load.Loaded) -> str:
    """What to type with the result."""
    folder = target.path
    if target.kind == OURS and loaded.task:
        return f'python -m electra_jax.predict --checkpoint={folder} --input=FILE'
    if target.kind == OURS:
        words = [f'--config.init_from={folder}', '--config.data.path=FOLDER']
        words += setting_words(loaded)
        return f'python -m electra_jax.main --config=configs/continue_small.py {" ".join(words)}'
    if target.kind == 'google':
        listed = f"print(*tensorflow.train.list_variables('{folder}'), sep=chr(10))"
        return f'python -c "import tensorflow; {listed}"'
    if (folder / 'discriminator').is_dir():
        folder = folder / 'discriminator'
    model = names.CLASS_OF.get(loaded.task, 'AutoModelForPreTraining')
    return (
        f'python -c "from transformers import {model}, AutoTokenizer; '
        f"AutoTokenizer.from_pretrained('{folder}'); {model}.from_pretrained('{folder}')\""
    )


def setting_words(loaded: load.Loaded) -> list[str]:
    """The settings that make a recipe of the small size train this model."""
    model, objective = loaded.model, loaded.objective
    words = [] if objective == 'electra' else [f'--config.objective.name={objective}']
    words += [] if model.size == 'small' else [f'--config.model.size={model.size}']
    named = resolve.resolve_model(ModelConfig(size=model.size, generator='separate'))
    for field in dataclasses.fields(ModelConfig):
        value, left = getattr(model, field.name), field.name in LEFT_TO_DEVICES
        if not left and value is not None and value != getattr(named, field.name):
            words.append(f'--config.model.{field.name}={value}')
    return words


if __name__ == '__main__':
    cli.run_without_recipe(main)
