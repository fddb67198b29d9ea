"""Every task by name: what it is, where its files are, what it is scored by.

Epochs, row lengths and swapped pairs are the reference's (electra, configure_finetuning.py and
finetune/), but for Natural Questions, which gets what its sister tasks get: the reference's test
for 'qa' in the name passes it over.
"""

import dataclasses
from collections.abc import Mapping

from electra_jax.core import errors
from electra_jax.finetune import layouts
from electra_jax.finetune.layouts import Layout

KINDS = ('classification', 'regression', 'tagging', 'spans')


@dataclasses.dataclass(frozen=True)
class TaskSpec:
    """A task.

    Attributes:
      kind: of KINDS; what head and what examples it has.
      layout: of its files.
      metrics: names that `metrics` or `squad_metrics` gives.
      headline: the one that stands for the task.
      labels: its classes in the order of their ids; (): found in the training file.
      epochs: of fine-tuning.
      row_length: L, where the config does not say.
      eval_splits: keys of `layout.files` that are scored; the first is needed.
      test_splits: those that are predicted, and scored too where they have answers.
      submissions: test split -> name of the file that GLUE wants.
      double_unordered: whether training also sees each pair the other way round.
      score_range: what scores may be ('regression'); None: found, and nothing is refused.
      scheme: of the file's tags, a key of `tag_schemes.SCHEMES`; None: found.
      trained_scheme: of the tags that the model learns; None: the file's.
      unanswerable: whether questions may have no answer.
      null_threshold: with `unanswerable`, no answer is given where the reference head's logit of
        "impossible" is above it.
      rules: 'squad' or 'mrqa': what a prediction is scored by ('spans').
    """

    kind: str
    layout: Layout
    metrics: tuple[str, ...]
    headline: str
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
    rules: str = 'squad'


_YES_NO = ('0', '1')
_ENTAILS = ('entailment', 'not_entailment')
_TAG_METRICS = ('f1', 'precision', 'recall', 'accuracy')
_EXACT_F1 = ('exact_match', 'f1')


def _classes(
    name: str, labels: tuple[str, ...], submission: str, *metrics: str, **changes: object
) -> TaskSpec:
    """A classification task of GLUE; the first metric is its headline."""
    fields = dict(labels=labels, submissions={'test': f'{submission}.tsv'}, **changes)
    return TaskSpec('classification', layouts.GLUE[name], metrics, metrics[0], **fields)


def _mrqa(name: str) -> TaskSpec:
    return TaskSpec(
        'spans', layouts.mrqa(name), _EXACT_F1, 'f1', epochs=2, row_length=512, rules='mrqa'
    )


TASKS: dict[str, TaskSpec] = {
    'cola': _classes('cola', _YES_NO, 'CoLA', 'matthews', 'accuracy'),
    'sst2': _classes('sst2', _YES_NO, 'SST-2', 'accuracy'),
    'mrpc': _classes('mrpc', _YES_NO, 'MRPC', 'accuracy', 'f1', double_unordered=True),
    'stsb': TaskSpec(
        'regression',
        layouts.GLUE['stsb'],
        ('spearman', 'pearson', 'mse'),
        'spearman',
        epochs=10,
        submissions={'test': 'STS-B.tsv'},
        double_unordered=True,
        score_range=(0.0, 5.0),
    ),
    'qqp': _classes('qqp', _YES_NO, 'QQP', 'accuracy', 'f1'),
    'mnli': dataclasses.replace(
        _classes('mnli', ('contradiction', 'entailment', 'neutral'), 'MNLI-m', 'accuracy'),
        eval_splits=('dev', 'dev_mismatched'),
        test_splits=('test', 'test_mismatched', 'diagnostic'),
        submissions={
            'test': 'MNLI-m.tsv',
            'test_mismatched': 'MNLI-mm.tsv',
            'diagnostic': 'AX.tsv',
        },
    ),
    'qnli': _classes('qnli', _ENTAILS, 'QNLI', 'accuracy'),
    'rte': _classes('rte', _ENTAILS, 'RTE', 'accuracy', epochs=10),
    'wnli': _classes('wnli', _YES_NO, 'WNLI', 'accuracy'),
    'squad1': TaskSpec(
        'spans',
        layouts.squad('v1.1', ('squadv1', 'squad1', 'squad'), 'squad/v1.1'),
        _EXACT_F1,
        'f1',
        epochs=2,
        row_length=512,
    ),
    'squad2': TaskSpec(
        'spans',
        layouts.squad('v2.0', ('squad2', 'squad'), 'squad/v2.0'),
        _EXACT_F1,
        'f1',
        epochs=2,
        row_length=512,
        unanswerable=True,
    ),
    'newsqa': _mrqa('NewsQA'),
    'naturalqs': _mrqa('NaturalQuestionsShort'),
    'triviaqa': _mrqa('TriviaQA-web'),
    'searchqa': _mrqa('SearchQA'),
    'hotpotqa': _mrqa('HotpotQA'),
    'chunk': TaskSpec(
        'tagging',
        layouts.CONLL_2000,
        _TAG_METRICS,
        'f1',
        row_length=256,
        test_splits=(),
        scheme='bio',
        trained_scheme='iobes',
    ),
    'ner': TaskSpec(
        'tagging',
        layouts.CONLL_2003,
        _TAG_METRICS,
        'f1',
        eval_splits=('dev', 'test'),
        test_splits=(),
    ),
    # One's own data: columns, labels and schemes come from the config.
    'text': TaskSpec('classification', layouts.OWN_TEXT, ('accuracy', 'macro_f1'), 'accuracy'),
    'text_regression': TaskSpec(
        'regression', layouts.OWN_TEXT, ('pearson', 'spearman', 'mse'), 'pearson'
    ),
    'tagging': TaskSpec('tagging', layouts.OWN_TAGS, _TAG_METRICS, 'f1', row_length=256),
    'spans': TaskSpec('spans', layouts.OWN_QUESTIONS, _EXACT_F1, 'f1', epochs=2, row_length=512),
}


def get(name: str) -> TaskSpec:
    """The task of that name.

    Raises:
      errors.ConfigError: there is none.
    """
    if name not in TASKS:
        raise errors.unknown('config.task.name', name, TASKS)
    return TASKS[name]
