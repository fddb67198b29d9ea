"""Every task by name: what it is, where its official files are, what it is scored by.

Epochs, row lengths and swapped pairs are the reference's (electra, configure_finetuning.py and
finetune/), except for Natural Questions, which gets those of the other MRQA tasks: the reference
decides by 'qa' in a task's name and so leaves it out. Columns of GLUE are the headers of the
official files, https://gluebenchmark.com/tasks.
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from electra_jax.core import compressed, tfds
from electra_jax.core.errors import DataError, unknown
from electra_jax.finetune.files.tables import TABLES, Columns

_TFDS = 'tfds:'
_TFDS_INFO = 'dataset_info.json'  # in the folder of a prepared dataset
_TFDS_SPLITS = {'dev': 'validation'}  # our name -> theirs


class Dataset(NamedTuple):
    """How a TensorFlow dataset holds a task.

    Attributes:
        columns: which feature holds what.
        splits: our name of a split -> theirs; other splits have the same name.
        labels: their names of the classes -> ours; other classes have the same name.
    """

    columns: Columns
    splits: Mapping[str, str] = _TFDS_SPLITS
    labels: Mapping[str, str] = {}


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where a task's files are and how to read them.

    Attributes:
        files: split -> names, without ending, of the file to look for; the first that exists is
            read.
        columns: which column holds what.
        split_columns: split -> its columns, where they differ.
        folders: names of the task's own folder in a folder of many tasks.
        endings: of its files.
        dataset: the same task as a TensorFlow dataset.
        known_gaps: whether the official files have rows with missing cells.
    """

    files: Mapping[str, tuple[str, ...]]
    columns: Columns = dataclasses.field(default_factory=Columns)
    split_columns: Mapping[str, Columns] = dataclasses.field(default_factory=dict)
    folders: tuple[str, ...] = ()
    endings: tuple[str, ...] = TABLES
    dataset: Dataset | None = None
    known_gaps: bool = False


@dataclasses.dataclass(frozen=True)
class TaskSpec:
    """A task.

    Attributes:
        kind: a key of `kinds.table.KINDS`; what head and what examples it has.
        layout: of its files.
        metrics: names that the kind's scores have; the first stands for the task.
        labels: its classes in the order of their ids; (): those of the training file.
        epochs: of fine-tuning.
        row_length: L, where the config does not set it.
        eval_splits: keys of `layout.files` that are scored; the first is needed.
        test_splits: those that are predicted, and scored too where they have answers.
        submissions: test split -> name of the file that GLUE wants.
        double_unordered: whether training also sees each pair the other way round.
        score_range: what scores may be ('regression'); None: that of the training file.
        scheme: of the file's tags, a key of `tag_schemes.SCHEMES`; None: follows from the file.
        trained_scheme: of the tags that the model learns; None: the file's.
        unanswerable: whether questions may have no answer.
        null_threshold: with `unanswerable`, no answer is given where the reference head's logit of
            "impossible" is above it.
    """

    kind: str
    layout: Layout
    metrics: tuple[str, ...]
    labels: tuple[str, ...] = ()
    epochs: float = 3
    row_length: int = 128
    eval_splits: tuple[str, ...] = ('dev',)
    test_splits: tuple[str, ...] = ('test',)
    submissions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    double_unordered: bool = False
    score_range: tuple[float, float] | None = None
    scheme: str | None = None
    trained_scheme: str | None = None
    unanswerable: bool = False
    null_threshold: float = -2.75

    @property
    def headline(self) -> str:
        """The metric that stands for the task."""
        return self.metrics[0]


class Place(NamedTuple):
    """Where a split is: a file, or a split of a TensorFlow dataset."""

    path: pathlib.Path | None
    dataset: str = ''
    split: str = ''


# ---------------------------------------------------------------------------------------------
# GLUE

_YES_NO = ('0', '1')
_ENTAILMENT = ('entailment', 'not_entailment')
_PAIR = Columns('sentence1', 'sentence2', 'label', id='idx')
_SINGLE = Columns('sentence', None, 'label', id='idx')
_OFFICIAL_PAIR = Columns('sentence1', 'sentence2', 'label', id='index')
_SINGLE_TEST = Columns('sentence', None, None, id='index')


def _glue(
    folders: tuple[str, ...],
    metrics: tuple[str, ...],
    columns: Columns,
    dataset: Dataset,
    test: Columns | None = None,
    known_gaps: bool = False,
    **changes: Any,
) -> TaskSpec:
    """A task of GLUE; its test columns may differ, and `changes` are other fields of `TaskSpec`."""
    layout = Layout(
        files={'train': ('train',), 'dev': ('dev',), 'test': ('test',)},
        columns=columns,
        split_columns={'test': test} if test else {},
        folders=folders,
        endings=('.tsv',),
        dataset=dataset,
        known_gaps=known_gaps,
    )
    usual = TaskSpec('classification', layout, metrics, _YES_NO)
    return dataclasses.replace(usual, submissions={'test': f'{folders[0]}.tsv'}, **changes)


_MNLI = Layout(
    files={
        'train': ('train',),
        'dev': ('dev_matched',),
        'dev_mismatched': ('dev_mismatched',),
        'test': ('test_matched',),
        'test_mismatched': ('test_mismatched',),
        'diagnostic': ('diagnostic', 'diagnostic/diagnostic', 'AX/AX'),
    },
    columns=Columns('sentence1', 'sentence2', 'gold_label', id='index'),
    folders=('MNLI', 'mnli'),
    endings=('.tsv',),
    dataset=Dataset(
        Columns('premise', 'hypothesis', 'label', id='idx'),
        {
            'dev': 'validation_matched',
            'dev_mismatched': 'validation_mismatched',
            'test': 'test_matched',
            'test_mismatched': 'test_mismatched',
        },
    ),
)

_GLUE = {
    'cola': _glue(
        ('CoLA', 'cola'),
        ('matthews', 'accuracy'),
        # No header in the train and dev files: source, label, the author's mark, sentence.
        Columns('3', None, '1', header=False),
        Dataset(_SINGLE, labels={'unacceptable': '0', 'acceptable': '1'}),
        test=_SINGLE_TEST,
    ),
    'sst2': _glue(
        ('SST-2', 'SST', 'sst', 'sst2'),
        ('accuracy',),
        Columns('sentence', None, 'label'),
        Dataset(_SINGLE, labels={'negative': '0', 'positive': '1'}),
        test=_SINGLE_TEST,
    ),
    'mrpc': _glue(
        ('MRPC', 'mrpc'),
        ('accuracy', 'f1'),
        Columns('#1 String', '#2 String', 'Quality'),
        Dataset(_PAIR, labels={'not_equivalent': '0', 'equivalent': '1'}),
        test=Columns('#1 String', '#2 String', None, id='index'),
        double_unordered=True,
    ),
    'stsb': _glue(
        ('STS-B', 'STS', 'sts', 'stsb'),
        ('spearman', 'pearson', 'mse'),
        Columns('sentence1', 'sentence2', 'score', id='index'),
        Dataset(_PAIR),
        kind='regression',
        labels=(),
        epochs=10,
        double_unordered=True,
        score_range=(0.0, 5.0),
    ),
    'qqp': _glue(
        ('QQP', 'qqp'),
        ('accuracy', 'f1'),
        Columns('question1', 'question2', 'is_duplicate', id='id'),
        Dataset(
            Columns('question1', 'question2', 'label', id='idx'),
            labels={'not_duplicate': '0', 'duplicate': '1'},
        ),
        known_gaps=True,  # a few rows of the official training file end before the second question
    ),
    'mnli': TaskSpec(
        'classification',
        _MNLI,
        ('accuracy',),
        ('contradiction', 'entailment', 'neutral'),
        eval_splits=('dev', 'dev_mismatched'),
        test_splits=('test', 'test_mismatched', 'diagnostic'),
        submissions={
            'test': 'MNLI-m.tsv',
            'test_mismatched': 'MNLI-mm.tsv',
            'diagnostic': 'AX.tsv',
        },
    ),
    'qnli': _glue(
        ('QNLI', 'qnli'),
        ('accuracy',),
        Columns('question', 'sentence', 'label', id='index'),
        Dataset(Columns('question', 'sentence', 'label', id='idx')),
        labels=_ENTAILMENT,
    ),
    'rte': _glue(
        ('RTE', 'rte'),
        ('accuracy',),
        _OFFICIAL_PAIR,
        Dataset(_PAIR),
        labels=_ENTAILMENT,
        epochs=10,
    ),
    'wnli': _glue(
        ('WNLI', 'wnli'),
        ('accuracy',),
        _OFFICIAL_PAIR,
        Dataset(_PAIR, labels={'not_entailment': '0', 'entailment': '1'}),
    ),
}

# ---------------------------------------------------------------------------------------------
# Questions and tags

_QUESTIONS = Columns(id='id', context='context', question='question', answers='answers')
_TAG_METRICS = ('f1', 'precision', 'recall', 'accuracy')


def _spans(layout: Layout, **changes: Any) -> TaskSpec:
    usual = TaskSpec('spans', layout, ('f1', 'exact_match'), epochs=2, row_length=512)
    return dataclasses.replace(usual, **changes)


def _squad(version: str, *folders: str) -> Layout:
    """SQuAD, by its own file names or by those that the ELECTRA release asks for."""
    return Layout(
        files={split: (f'{split}-{version}', split) for split in ('train', 'dev', 'test')},
        columns=_QUESTIONS,
        folders=folders,
        endings=('.json', '.jsonl'),
        dataset=Dataset(_QUESTIONS),
    )


def _mrqa(name: str) -> TaskSpec:
    """A part of the MRQA shared task: train/NAME.jsonl.gz, or name/train.jsonl."""
    layout = Layout(
        files={
            'train': (f'train/{name}', 'train'),
            'dev': (f'dev/{name}', 'dev'),
            'test': ('test',),
        },
        columns=_QUESTIONS,
        folders=(name, name.lower()),
        endings=('.jsonl', '.json'),
    )
    return _spans(layout)


_CONLL_2000 = Layout(
    # The data set has no dev part; its test part is what is scored.
    files={'train': ('train',), 'dev': ('dev', 'valid', 'test')},
    columns=Columns(words='0', tags='-1'),
    folders=('chunk', 'conll2000'),
    endings=('.txt', '.conll'),
)
_CONLL_2003 = Layout(
    files={
        'train': ('train', 'eng.train'),
        'dev': ('dev', 'valid', 'eng.testa'),
        'test': ('test', 'eng.testb'),
    },
    folders=('ner', 'conll2003'),
    endings=('.txt', '.conll', '.tsv'),
    dataset=Dataset(Columns(words='tokens', tags='ner'), {'dev': 'dev'}),
)

# The user's own data: columns, labels and schemes come from the config.
_OWN_FILES = {
    'train': ('train',),
    'dev': ('dev', 'validation', 'valid', 'val'),
    'test': ('test',),
}
_OWN_TEXT = Layout(_OWN_FILES, Columns('text', None, 'label'))
_OWN_TAGS = Layout(_OWN_FILES, endings=('.txt', '.conll', '.conllu', *TABLES))
_OWN_QUESTIONS = Layout(_OWN_FILES, _QUESTIONS, endings=('.json', *TABLES))

TASKS: dict[str, TaskSpec] = {
    **_GLUE,
    'squad1': _spans(_squad('v1.1', 'squadv1', 'squad1', 'squad')),
    'squad2': _spans(_squad('v2.0', 'squad2', 'squad'), unanswerable=True),
    'newsqa': _mrqa('NewsQA'),
    'naturalqs': _mrqa('NaturalQuestionsShort'),
    'triviaqa': _mrqa('TriviaQA-web'),
    'searchqa': _mrqa('SearchQA'),
    'hotpotqa': _mrqa('HotpotQA'),
    'chunk': TaskSpec(
        'tagging',
        _CONLL_2000,
        _TAG_METRICS,
        row_length=256,
        test_splits=(),
        scheme='bio',
        trained_scheme='iobes',
    ),
    'ner': TaskSpec(
        'tagging', _CONLL_2003, _TAG_METRICS, eval_splits=('dev', 'test'), test_splits=()
    ),
    'text': TaskSpec('classification', _OWN_TEXT, ('accuracy', 'macro_f1')),
    'text_regression': TaskSpec('regression', _OWN_TEXT, ('pearson', 'spearman', 'mse')),
    'tagging': TaskSpec('tagging', _OWN_TAGS, _TAG_METRICS, row_length=256),
    'spans': _spans(_OWN_QUESTIONS),
}


def get(name: str | None) -> TaskSpec:
    """The task of that name.

    Raises:
        ConfigError: there is none.
    """
    if name is None or name not in TASKS:
        raise unknown('config.task.name', str(name), TASKS)
    return TASKS[name]


# ---------------------------------------------------------------------------------------------
# Where the files are


def find(layout: Layout, where: str, split: str) -> Place | None:
    """Where a split is; None: the data does not have it.

    Args:
        layout: of the task's files.
        where: the task's folder, a folder of such folders, or 'tfds:NAME' for a prepared
            TensorFlow dataset.
        split: a key of `layout.files`.

    Raises:
        DataError: there is nothing at `where`, or two files could be meant.
    """
    if where.startswith(_TFDS):
        name, theirs = where.removeprefix(_TFDS), _their_name(layout, split)
        held = tfds.split_names(name)
        # Where nothing is prepared, no split is known; reading one then explains what to type.
        return Place(None, name, theirs) if theirs in held or not held else None
    top = pathlib.Path(where)
    if top.is_file():
        raise DataError(
            f'config.data.path is the file {where}: name the folder that it is in, and the files '
            'with --config.task.train_file=NAME --config.task.dev_file=NAME'
        )
    if not top.is_dir():
        raise DataError(
            f'config.data.path is {where!r}, but no folder of that name is there '
            f'(looked from {pathlib.Path.cwd()})'
        )
    for folder in (*(top / name for name in layout.folders), top):
        for name in layout.files.get(split, ()):
            paths = _existing(folder, name, layout.endings)
            if len(paths) > 1:
                listed = ' and '.join(map(str, paths))
                raise DataError(f'{listed} could both be the {split} file: keep one')
            if paths:
                return Place(paths[0])
    return None


def missing(layout: Layout, where: str, split: str) -> DataError:
    """The error for data that lacks a split which is needed."""
    remedy = ''
    if split == 'dev':
        remedy = '; training rows can be scored instead: --config.task.dev_share=0.1'
    if where.startswith(_TFDS):
        held = ', '.join(map(repr, tfds.split_names(where.removeprefix(_TFDS))))
        return DataError(
            f'config.data.path is {where!r}, a data set with no split '
            f'{_their_name(layout, split)!r}; it has {held}{remedy}'
        )
    path = pathlib.Path(where)
    names = ' or '.join(f'{name}{layout.endings[0]}' for name in layout.files.get(split, ()))
    folders = f', perhaps in a folder {" or ".join(layout.folders)}' if layout.folders else ''
    held = ', '.join(sorted(child.name for child in path.iterdir())[:12]) or 'nothing'
    levels = ('', '*/', '*/*/', '*/*/*/')
    prepared = next((one for level in levels for one in path.glob(level + _TFDS_INFO)), None)
    if prepared is not None:
        folder = prepared.parent
        remedy += (
            '; a prepared TensorFlow dataset is named by its own folder: '
            f'--config.data.path=tfds:{folder}'
        )
    return DataError(
        f'config.data.path is {where!r}, which holds {held}; looked for the {split} split in '
        f'{names or "no file"}{folders} (endings: {", ".join(layout.endings)}; .gz, .xz or .zst '
        f'may follow){remedy}'
    )


def _their_name(layout: Layout, split: str) -> str:
    return (layout.dataset.splits if layout.dataset else _TFDS_SPLITS).get(split, split)


def _existing(folder: pathlib.Path, name: str, endings: tuple[str, ...]) -> list[pathlib.Path]:
    packed = ('', *compressed.DECOMPRESSORS)
    names = [name, *(f'{name}{ending}{pack}' for ending in endings for pack in packed)]
    return [folder / name for name in names if (folder / name).is_file()]
