"""Every task by name: what it is, where its official files are, what it is scored by.

Epochs, row lengths and swapped pairs are the reference's (electra, configure_finetuning.py and
finetune/), except for Natural Questions, which gets those of the other MRQA tasks: the reference
decides by 'qa' in a task's name and so leaves it out. Columns of GLUE are the headers of the
official files, https://gluebenchmark.com/tasks.
"""

import dataclasses
from typing import Any

from electra_jax.config.task_settings import DecodingConfig
from electra_jax.core.errors import ConfigError, unknown
from electra_jax.finetune.files.locate import Dataset, TaskFiles
from electra_jax.finetune.files.tables import Columns
from electra_jax.finetune.kinds.kind import TaskSpec
from electra_jax.finetune.kinds.table import KINDS

# Tasks of the user's own data, one for each kind: their columns come from the config.
_OWN = {
    kind.own_task: dataclasses.replace(kind.own_spec, kind=name) for name, kind in KINDS.items()
}


def _like(own: str, files: TaskFiles, **changes: Any) -> TaskSpec:
    return dataclasses.replace(_OWN[own], files=files, **changes)


# ---------------------------------------------------------------------------------------------
# GLUE

_ENTAILMENT = ('entailment', 'not_entailment')
_PAIR = Columns('sentence1', 'sentence2', 'label', id='idx')
_SINGLE = Columns('sentence', None, 'label', id='idx')
_OFFICIAL_PAIR = Columns('sentence1', 'sentence2', 'label', id='index')
_SINGLE_TEST = {'test': Columns('sentence', None, None, id='index')}


def _glue(
    folders: tuple[str, ...],
    columns: Columns,
    dataset: Dataset,
    metrics: tuple[str, ...] = ('accuracy',),
    files: dict[str, Any] | None = None,
    own: str = 'text',
    **changes: Any,
) -> TaskSpec:
    """A task of GLUE; `files` are other fields of `TaskFiles`, and `changes` of `TaskSpec`."""
    official = TaskFiles(
        columns=columns, folders=folders, endings=('.tsv',), dataset=dataset, **(files or {})
    )
    usual = {
        'metrics': metrics,
        'labels': ('0', '1'),
        'submissions': {'test': f'{folders[0]}.tsv'},
    }
    return _like(own, official, **{**usual, **changes})


_GLUE = {
    'cola': _glue(
        ('CoLA', 'cola'),
        # No header in the train and dev files: source, label, the author's mark, sentence.
        Columns('3', None, '1', header=False),
        Dataset(_SINGLE, labels={'unacceptable': '0', 'acceptable': '1'}),
        ('matthews', 'accuracy'),
        {'split_columns': _SINGLE_TEST},
    ),
    'sst2': _glue(
        ('SST-2', 'SST', 'sst', 'sst2'),
        Columns('sentence', None, 'label'),
        Dataset(_SINGLE, labels={'negative': '0', 'positive': '1'}),
        files={'split_columns': _SINGLE_TEST},
    ),
    'mrpc': _glue(
        ('MRPC', 'mrpc'),
        Columns('#1 String', '#2 String', 'Quality'),
        Dataset(_PAIR, labels={'not_equivalent': '0', 'equivalent': '1'}),
        ('accuracy', 'f1'),
        {'split_columns': {'test': Columns('#1 String', '#2 String', None, id='index')}},
        double_unordered=True,
    ),
    'stsb': _glue(
        ('STS-B', 'STS', 'sts', 'stsb'),
        Columns('sentence1', 'sentence2', 'score', id='index'),
        Dataset(_PAIR),
        ('spearman', 'pearson', 'mse'),
        own='text_regression',
        labels=(),
        epochs=10,
        double_unordered=True,
        score_range=(0.0, 5.0),
    ),
    'qqp': _glue(
        ('QQP', 'qqp'),
        Columns('question1', 'question2', 'is_duplicate', id='id'),
        Dataset(
            Columns('question1', 'question2', 'label', id='idx'),
            labels={'not_duplicate': '0', 'duplicate': '1'},
        ),
        ('accuracy', 'f1'),
        # A few rows of the official training file end before the second question.
        {'known_gaps': True},
    ),
    'mnli': _glue(
        ('MNLI', 'mnli'),
        Columns('sentence1', 'sentence2', 'gold_label', id='index'),
        Dataset(
            Columns('premise', 'hypothesis', 'label', id='idx'),
            {
                'dev': 'validation_matched',
                'dev_mismatched': 'validation_mismatched',
                'test': 'test_matched',
                'test_mismatched': 'test_mismatched',
            },
        ),
        files={
            'names': {
                'train': ('train',),
                'dev': ('dev_matched',),
                'dev_mismatched': ('dev_mismatched',),
                'test': ('test_matched',),
                'test_mismatched': ('test_mismatched',),
                'diagnostic': ('diagnostic', 'diagnostic/diagnostic', 'AX/AX'),
            }
        },
        labels=('contradiction', 'entailment', 'neutral'),
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
        Columns('question', 'sentence', 'label', id='index'),
        Dataset(Columns('question', 'sentence', 'label', id='idx')),
        labels=_ENTAILMENT,
    ),
    'rte': _glue(('RTE', 'rte'), _OFFICIAL_PAIR, Dataset(_PAIR), labels=_ENTAILMENT, epochs=10),
    'wnli': _glue(
        ('WNLI', 'wnli'),
        _OFFICIAL_PAIR,
        Dataset(_PAIR, labels={'not_entailment': '0', 'entailment': '1'}),
    ),
}

# ---------------------------------------------------------------------------------------------
# Questions and tags

_QUESTIONS = _OWN['spans'].files.columns


def _squad(version: str, *folders: str, **changes: Any) -> TaskSpec:
    """SQuAD, by its own file names or by those that the ELECTRA release asks for."""
    files = TaskFiles(
        names={split: (f'{split}-{version}', split) for split in ('train', 'dev', 'test')},
        columns=_QUESTIONS,
        folders=folders,
        endings=('.json', '.jsonl'),
        dataset=Dataset(_QUESTIONS),
    )
    return _like('spans', files, **changes)


def _mrqa(name: str) -> TaskSpec:
    """A part of the MRQA shared task: train/NAME.jsonl.gz, or name/train.jsonl."""
    files = TaskFiles(
        names={
            'train': (f'train/{name}', 'train'),
            'dev': (f'dev/{name}', 'dev'),
            'test': ('test',),
        },
        columns=_QUESTIONS,
        folders=(name, name.lower()),
        endings=('.jsonl', '.json'),
    )
    return _like('spans', files)


_CONLL_2000 = TaskFiles(
    # The data set has no dev part; its test part is what is scored.
    names={'train': ('train',), 'dev': ('dev', 'valid', 'test')},
    columns=Columns(words='0', tags='-1'),
    folders=('chunk', 'conll2000'),
    endings=('.txt', '.conll'),
)
_CONLL_2003 = TaskFiles(
    names={
        'train': ('train', 'eng.train'),
        'dev': ('dev', 'valid', 'eng.testa'),
        'test': ('test', 'eng.testb'),
    },
    folders=('ner', 'conll2003'),
    endings=('.txt', '.conll', '.tsv'),
    dataset=Dataset(Columns(words='tokens', tags='ner'), {'dev': 'dev'}),
)

_SQUAD_RETRIEVAL = dataclasses.replace(
    _squad('v1.1', 'squadv1', 'squad1', 'squad').files,
    columns=Columns('question', 'context', 'negative'),
    dataset=Dataset(Columns('question', 'context')),
)
_TRANSLATION = TaskFiles(columns=Columns(source='source', target='target'), parallel=True)
_SUMMARIES = TaskFiles(columns=Columns(source='document', target='summary'))

TASKS: dict[str, TaskSpec] = {
    **_GLUE,
    'squad1': _squad('v1.1', 'squadv1', 'squad1', 'squad'),
    'squad2': _squad('v2.0', 'squad2', 'squad', unanswerable=True),
    'newsqa': _mrqa('NewsQA'),
    'naturalqs': _mrqa('NaturalQuestionsShort'),
    'triviaqa': _mrqa('TriviaQA-web'),
    'searchqa': _mrqa('SearchQA'),
    'hotpotqa': _mrqa('HotpotQA'),
    'chunk': _like('tagging', _CONLL_2000, test_splits=(), scheme='bio', trained_scheme='iobes'),
    'ner': _like(
        'tagging', _CONLL_2003, row_length=128, eval_splits=('dev', 'test'), test_splits=()
    ),
    'squad_retrieval': _like('retrieval', _SQUAD_RETRIEVAL, row_length=256),
    'translation': _like('seq2seq', _TRANSLATION, metrics=('bleu', 'chrf')),
    'summarization': _like(
        'seq2seq',
        _SUMMARIES,
        metrics=('rouge1', 'rouge2', 'rougeL'),
        row_length=512,
        decoding=DecodingConfig(no_repeat=3),
    ),
    **_OWN,
}


def get(name: str | None) -> TaskSpec:
    """The task of that name; raises ConfigError if there is none."""
    if name in KINDS and name not in TASKS:
        own = KINDS[name].own_task
        raise ConfigError(
            f'config.task.name is {name!r}, which is a kind of task: type --config.task.name={own}'
        )
    if name is None or name not in TASKS:
        raise unknown('config.task.name', str(name), TASKS)
    return TASKS[name]
