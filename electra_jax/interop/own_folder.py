"""Our checkpoints to pass on: one safetensors file, what it records in JSON, and the tokenizer.

A workdir's checkpoint is a folder of many files, in float32; this one is small and is read by every
safetensors library. No folder of the machine that trained it is recorded.
"""

import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from electra_jax.core import trees
from electra_jax.core.errors import CheckpointError
from electra_jax.interop import files
from electra_jax.interop.checkpoint import STARTED_FROM, Checkpoint, from_record
from electra_jax.interop.transfer import Report
from electra_jax.tokenizers import api
from electra_jax.train.workdir import TRIALS, without_step

ABOUT_FILE = 'checkpoint.json'
# Settings that name folders and files of that machine, which mean nothing elsewhere.
_NAMES = (
    'compilation_cache', 'log.reference', 'data.path', 'data.source', 'data.validation_source',
    'data.runner_options', 'data.tokenizer.path', 'task.train_file', 'task.dev_file',
    'task.test_file',
)  # fmt: skip
# Settings of which the last part of the name is kept.
_STARTS = ('init_from', 'branch_from', 'replay')
_KIND = '[a-z][a-z0-9_-]+:(?!//)'  # of an entry of `data.source`


def write(folder: pathlib.Path, checkpoint: Checkpoint) -> Report:
    """Writes parameters, what a checkpoint records, and the tokenizer; the folder is made."""
    tokenizer, about = checkpoint.tokenizer, checkpoint.about
    assert tokenizer is not None and about is not None  # `convert` has looked
    tokenizer.save(folder)
    leaves = trees.named_leaves(dict(checkpoint.params))
    arrays = {path: np.asarray(x).astype(checkpoint.dtype) for path, x in leaves}
    files.write_tensors(folder / files.WEIGHTS_FILE, arrays)
    kept = without_folders({name: value for name, value in about.items() if name != 'tokenizer'})
    (folder / ABOUT_FILE).write_text(json.dumps(kept, indent=1, sort_keys=True) + '\n')
    return Report()


def read(path: str | pathlib.Path) -> Checkpoint:
    """The checkpoint in a folder that `write` wrote, with parameters in float32.

    Raises:
        CheckpointError: the folder is not there, or something in it is damaged.
    """
    folder = pathlib.Path(path)
    for name in (ABOUT_FILE, files.WEIGHTS_FILE, api.FILE_NAME):
        if not (folder / name).is_file():
            raise CheckpointError(f'there is no checkpoint in {folder}: it has no {name}')
    about = files.read_json(folder / ABOUT_FILE)
    about['tokenizer'] = files.read_json(folder / api.FILE_NAME)
    arrays = files.read_tensors(folder / files.WEIGHTS_FILE)
    wrong = [name for name, x in arrays.items() if x.dtype.name not in files.FLOATS]
    if wrong:
        found = arrays[wrong[0]].dtype.name
        raise CheckpointError(
            f'{folder / files.WEIGHTS_FILE}: {wrong[0]} is of {found}, allowed: '
            f'{", ".join(files.FLOATS)}'
        )
    params = trees.nested({path: x.astype(np.float32) for path, x in arrays.items()})
    return from_record(params, about, str(path))


def without_folders(about: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint records without names of folders of the machine that wrote it.

    >>> without_folders({'converted_from': 'google:/home/me/small', 'steps': 3})
    {'converted_from': 'google:small', 'steps': 3}
    """
    kept = dict(about)
    if kept.get('converted_from'):
        kept['converted_from'] = last_part(kept['converted_from'])
    if isinstance(config := kept.get('config'), Mapping):
        config = dict(config)
        config |= {n: last_part(config[n]) for n in _STARTS if config.get(n)}
        for name in _NAMES:
            config = _unset(config, *name.split('.'))
        kept['config'] = config
    if isinstance(corpora := kept.get('corpora'), list):
        kept['corpora'] = [
            {
                **one,
                'path': last_part(str(one.get('path', ''))),
                'source': plain(str(one.get('source') or '')),
            }
            for one in corpora
            if isinstance(one, Mapping)
        ]
    if isinstance(start := kept.get(STARTED_FROM), Mapping):
        kept[STARTED_FROM] = without_folders(start) | {'name': last_part(str(start.get('name')))}
    return kept


def _unset(settings: Mapping[str, Any], name: str, *inner: str) -> dict[str, Any]:
    """The settings with None for one of them, if they have it."""
    found = dict(settings)
    if not inner and name in found:
        found[name] = None
    elif inner and isinstance(group := found.get(name), Mapping):
        found[name] = _unset(group, *inner)
    return found


def plain(word: str) -> str:
    """A word of a command with the last two parts of each path in it: no folders of the machine.

    URLs and names of data sets stay, and so does a recipe of the project, which all have.

    >>> plain('--config.data.source=text:~/a/t/*.txt=2,jsonl:c/d/e.jsonl'), plain('runs/a')
    ('--config.data.source=text:t/*.txt=2,jsonl:d/e.jsonl', 'runs/a')
    >>> plain('/home/me/runs/a'), plain('--config.data.path=/me/t/a=0.7,../me/t/b=0.3')
    ('runs/a', '--config.data.path=t/a=0.7,t/b=0.3')
    >>> plain('tfds:wikipedia/20230601.en/1.0.0:train'), plain('--config=configs/finetune/task.py')
    ('tfds:wikipedia/20230601.en/1.0.0:train', '--config=configs/finetune/task.py')
    """
    flag, value = re.fullmatch('(-[^=]*=)?(.*)', word, re.DOTALL).groups('')  # type: ignore[union-attr]
    if flag in ('', '--config=') and value.startswith('configs/'):
        return word
    # As `data.source` is taken apart, where a path may hold commas; elsewhere each separates.
    separator = rf'(,\s*)(?={_KIND})' if re.match(_KIND, value) else '(,)'
    return flag + ''.join(map(_short, re.split(separator, value)))


def _short(entry: str) -> str:
    """The last two parts of a path, after its kind; '..' and '~' are none."""
    kind, path = re.fullmatch(rf'({_KIND})?(.*)', entry, re.DOTALL).groups('')  # type: ignore[union-attr]
    parts = [part for part in path.split('/') if part not in ('', '.', '..') and part[0] != '~']
    is_name = kind == 'tfds:' and len(parts) <= 3 and path[:1] not in ('/', '~', '.')
    if '/' not in path or not parts or is_name or re.match(r'(?!file:)\w+://', path):
        return entry
    return kind + '/'.join(parts[-2:])


def last_part(name: str) -> str:
    """A name without its folders, and without a step: KIND:PATH keeps its kind, a trial its run.

    >>> last_part('google:/a/b/c'), last_part('/a/c/checkpoints/8'), last_part('a/c/trials/0')
    ('google:c', 'c', 'c/trials/0')
    """
    kind, colon, path = name.partition(':')
    path = path if colon else kind
    parts = without_step(path).rstrip('/').split('/')
    is_trial = parts[-2:-1] == [TRIALS] and parts[-1].isdecimal()
    return (kind + colon if colon else '') + '/'.join(parts[-3 if is_trial else -1 :])
