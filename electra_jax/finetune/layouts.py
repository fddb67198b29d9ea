"""How the files of each known data set are called and what their columns hold.

GLUE: the headers of the official files, https://gluebenchmark.com/tasks.
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

from electra_jax.core import compressed, errors
from electra_jax.finetune.bad_rows import BadRows
from electra_jax.finetune.files.columns import Columns
from electra_jax.finetune.files.tables import JSON_LINES, SEPARATORS, dataset_splits, whole_json

_DATASET = 'tfds:'
_TFDS_INFO = 'dataset_info.json'
_SPLITS = {'dev': 'validation'}  # our name -> that of TensorFlow datasets
_TABLES = (*SEPARATORS, *JSON_LINES, '.json')


class Dataset(NamedTuple):
    """The same task as a TensorFlow dataset.

    Attributes:
      names: of the dataset with its config; each may be a folder below the data's.
      columns: which feature holds what.
      splits: our name of a split -> theirs; others are called alike.
      labels: their names of the classes -> ours; others are called alike.
    """

    names: tuple[str, ...]
    columns: Columns
    splits: Mapping[str, str] = _SPLITS
    labels: Mapping[str, str] = {}


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where a task's files are and how to read them.

    Attributes:
      files: split -> names, without ending, of the file to look for; the first found counts.
      columns: which column holds what; `split_columns` has the splits that differ.
      split_columns: as said.
      folders: names of the task's own folder below a folder of many tasks.
      endings: of its files.
      dataset: where it may come from otherwise.
      known_gaps: whether the official files hold rows with missing cells.
    """

    files: Mapping[str, tuple[str, ...]]
    columns: Columns = dataclasses.field(default_factory=Columns)
    split_columns: Mapping[str, Columns] = dataclasses.field(default_factory=dict)
    folders: tuple[str, ...] = ()
    endings: tuple[str, ...] = _TABLES
    dataset: Dataset | None = None
    known_gaps: bool = False


class Place(NamedTuple):
    """Where a split is: a file, or a split of a dataset."""

    path: pathlib.Path | None
    dataset: str = ''
    split: str = ''


OWN_FILES = {
    'train': ('train',),
    'dev': ('dev', 'validation', 'valid', 'val'),
    'test': ('test',),
}


def find(layout: Layout, where: str, split: str) -> Place | None:
    """The place of a split, or None where the data has none.

    Args:
      layout: of the task.
      where: the task's folder, a folder of such folders, the folder of a prepared TensorFlow
        dataset, or 'tfds:NAME'.
      split: a key of `layout.files`.

    Raises:
      errors.DataError: nothing is there, or two files could be meant.
    """
    theirs = _their_name(layout, split)
    if where.startswith(_DATASET):
        name = where.removeprefix(_DATASET)
        held = dataset_splits(name)
        # With nothing prepared no split is known, and reading one says what to type.
        return Place(None, name, theirs) if theirs in held or not held else None
    top = pathlib.Path(where)
    if top.is_file():
        raise errors.DataError(
            f'config.data.path is the file {where}: name the folder that it is in, and the files '
            'with --config.task.train_file=NAME --config.task.dev_file=NAME'
        )
    if not top.is_dir():
        raise errors.DataError(
            f'config.data.path is {where!r}, but no folder of that name is there '
            f'(looked from {pathlib.Path.cwd()})'
        )
    for folder in (*(top / name for name in layout.folders), top):
        for name in layout.files.get(split, ()):
            found = _files(folder, name, layout.endings)
            if len(found) > 1:
                listed = ' and '.join(map(str, found))
                raise errors.DataError(f'{listed} could both be the {split} file: keep one')
            if found:
                return Place(found[0])
    prepared = _prepared(top, layout.dataset.names if layout.dataset else ())
    if prepared is not None and _has_split(prepared, theirs):
        return Place(None, str(prepared), theirs)
    return None


def missing(layout: Layout, where: str, split: str) -> errors.DataError:
    """The error for data that lacks a split which is needed."""
    spare = ''
    if split == 'dev':
        spare = '; training rows can be scored instead: --config.task.dev_share=0.1'
    if where.startswith(_DATASET):
        held = ', '.join(map(repr, dataset_splits(where.removeprefix(_DATASET))))
        return errors.DataError(
            f'config.data.path is {where!r}, a data set with no split '
            f'{_their_name(layout, split)!r}; it has {held}{spare}'
        )
    names = ' or '.join(f'{name}{layout.endings[0]}' for name in layout.files.get(split, ()))
    folders = f', perhaps in a folder {" or ".join(layout.folders)}' if layout.folders else ''
    path = pathlib.Path(where)
    held = sorted(child.name for child in path.iterdir())[:12] if path.is_dir() else []
    return errors.DataError(
        f'config.data.path is {where!r}, which holds {", ".join(held) or "nothing"}; looked for '
        f'the {split} split in {names or "no file"}{folders} (endings: '
        f'{", ".join(layout.endings)}; .gz, .xz or .zst may follow)' + spare
    )


def _their_name(layout: Layout, split: str) -> str:
    return (layout.dataset.splits if layout.dataset else _SPLITS).get(split, split)


def _files(folder: pathlib.Path, name: str, endings: tuple[str, ...]) -> list[pathlib.Path]:
    packed = ('', *compressed.DECOMPRESSORS)
    names = [name, *(f'{name}{ending}{pack}' for ending in endings for pack in packed)]
    return [folder / name for name in names if (folder / name).is_file()]


def _prepared(top: pathlib.Path, names: tuple[str, ...]) -> pathlib.Path | None:
    """The folder, of the newest version, of a prepared dataset at or below `top`."""
    for folder in (top, *(top / name for name in names)):
        if (folder / _TFDS_INFO).is_file():
            return folder
        versions = sorted(folder.glob(f'*/{_TFDS_INFO}'), key=_version)
        if versions:
            return versions[-1].parent
    return None


def _version(info: pathlib.Path) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else -1 for part in info.parent.name.split('.'))


def _has_split(folder: pathlib.Path, split: str) -> bool:
    info = whole_json(folder / _TFDS_INFO, BadRows())
    return any(held.get('name') == split for held in info.get('splits', []))


# ---------------------------------------------------------------------------------------------
# GLUE


def _glue(
    folders: tuple[str, ...],
    tfds_name: str,
    tfds_columns: Columns,
    columns: Columns,
    tfds_labels: Mapping[str, str] = {},
    **changes: object,
) -> Layout:
    fields: dict[str, object] = {
        'files': {'train': ('train',), 'dev': ('dev',), 'test': ('test',)},
        'columns': columns,
        'folders': folders,
        'endings': ('.tsv',),
        'dataset': Dataset((f'glue/{tfds_name}', tfds_name), tfds_columns, labels=tfds_labels),
    }
    return Layout(**{**fields, **changes})


_PAIR = Columns('sentence1', 'sentence2', 'label', id='idx')
_SINGLE = Columns('sentence', None, 'label', id='idx')
_OFFICIAL_PAIR = Columns('sentence1', 'sentence2', 'label', id='index')

_MNLI = _glue(
    ('MNLI', 'mnli'),
    'mnli',
    Columns('premise', 'hypothesis', 'label', id='idx'),
    Columns('sentence1', 'sentence2', 'gold_label', id='index'),
    files={
        'train': ('train',),
        'dev': ('dev_matched',),
        'dev_mismatched': ('dev_mismatched',),
        'test': ('test_matched',),
        'test_mismatched': ('test_mismatched',),
        'diagnostic': ('diagnostic', 'diagnostic/diagnostic', 'AX/AX'),
    },
)

GLUE: dict[str, Layout] = {
    # No header in the train and dev files: source, label, the author's mark, sentence.
    'cola': _glue(
        ('CoLA', 'cola'),
        'cola',
        _SINGLE,
        Columns('3', None, '1', header=False),
        {'unacceptable': '0', 'acceptable': '1'},
        split_columns={'test': Columns('sentence', None, None, id='index')},
    ),
    'sst2': _glue(
        ('SST-2', 'SST', 'sst', 'sst2'),
        'sst2',
        _SINGLE,
        Columns('sentence', None, 'label'),
        {'negative': '0', 'positive': '1'},
        split_columns={'test': Columns('sentence', None, None, id='index')},
    ),
    'mrpc': _glue(
        ('MRPC', 'mrpc'),
        'mrpc',
        _PAIR,
        Columns('#1 String', '#2 String', 'Quality'),
        {'not_equivalent': '0', 'equivalent': '1'},
        split_columns={'test': Columns('#1 String', '#2 String', None, id='index')},
    ),
    'stsb': _glue(
        ('STS-B', 'STS', 'sts', 'stsb'),
        'stsb',
        _PAIR,
        Columns('sentence1', 'sentence2', 'score', id='index'),
    ),
    # A few rows of the official training file break off before the second question.
    'qqp': _glue(
        ('QQP', 'qqp'),
        'qqp',
        Columns('question1', 'question2', 'label', id='idx'),
        Columns('question1', 'question2', 'is_duplicate', id='id'),
        {'not_duplicate': '0', 'duplicate': '1'},
        known_gaps=True,
    ),
    'mnli': dataclasses.replace(
        _MNLI,
        dataset=_MNLI.dataset._replace(
            splits={
                'dev': 'validation_matched',
                'dev_mismatched': 'validation_mismatched',
                'test': 'test_matched',
                'test_mismatched': 'test_mismatched',
            }
        ),
    ),
    'qnli': _glue(
        ('QNLI', 'qnli'),
        'qnli',
        Columns('question', 'sentence', 'label', id='idx'),
        Columns('question', 'sentence', 'label', id='index'),
    ),
    'rte': _glue(('RTE', 'rte'), 'rte', _PAIR, _OFFICIAL_PAIR),
    'wnli': _glue(
        ('WNLI', 'wnli'), 'wnli', _PAIR, _OFFICIAL_PAIR, {'not_entailment': '0', 'entailment': '1'}
    ),
}

# ---------------------------------------------------------------------------------------------
# Questions, tags

_QUESTIONS = Columns(id='id', context='context', question='question', answers='answers')


def squad(version: str, folders: tuple[str, ...], tfds_name: str) -> Layout:
    """Of SQuAD: its own names, or those that the ELECTRA release asks for."""
    return Layout(
        files={
            'train': (f'train-{version}', 'train'),
            'dev': (f'dev-{version}', 'dev'),
            'test': (f'test-{version}', 'test'),
        },
        columns=_QUESTIONS,
        folders=folders,
        endings=('.json', '.jsonl'),
        dataset=Dataset((tfds_name,), _QUESTIONS),
    )


def mrqa(name: str) -> Layout:
    """Of a part of the MRQA shared task: train/NAME.jsonl.gz, or name/train.jsonl."""
    return Layout(
        files={
            'train': (f'train/{name}', 'train'),
            'dev': (f'dev/{name}', 'dev'),
            'test': ('test',),
        },
        columns=_QUESTIONS,
        folders=(name, name.lower()),
        endings=('.jsonl', '.json'),
    )


CONLL_2000 = Layout(
    # The data set has no dev part; its test part is what is scored.
    files={'train': ('train',), 'dev': ('dev', 'valid', 'test')},
    columns=Columns(words='0', tags='-1'),
    folders=('chunk', 'conll2000'),
    endings=('.txt', '.conll'),
)
CONLL_2003 = Layout(
    files={
        'train': ('train', 'eng.train'),
        'dev': ('dev', 'valid', 'eng.testa'),
        'test': ('test', 'eng.testb'),
    },
    folders=('ner', 'conll2003'),
    endings=('.txt', '.conll', '.tsv'),
    dataset=Dataset(
        ('conll2003/conll2003', 'conll2003'),
        Columns(words='tokens', tags='ner'),
        {'dev': 'dev'},
    ),
)
OWN_TEXT = Layout(files=OWN_FILES, columns=Columns('text', None, 'label'))
OWN_TAGS = Layout(files=OWN_FILES, endings=('.txt', '.conll', '.conllu', *_TABLES))
OWN_QUESTIONS = Layout(
    files=OWN_FILES, columns=_QUESTIONS, endings=('.json', '.jsonl', '.csv', '.tsv')
)
