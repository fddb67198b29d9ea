"""Tasks about a text, or a pair of texts: classification and regression.

Metrics are the official ones of GLUE; scores become 0 to 1 for the loss, as in the reference
(electra, finetune/classification/classification_tasks.py).
"""

import collections
import dataclasses
import pathlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.finetune import glue, plots
from electra_jax.finetune.examples import TextExample, answered
from electra_jax.finetune.features import Rows, encode_all, ragged, truncated
from electra_jax.finetune.files import texts
from electra_jax.finetune.files.lines import UnusableError
from electra_jax.finetune.files.locate import TaskFiles
from electra_jax.finetune.files.source import Source
from electra_jax.finetune.files.tables import Columns
from electra_jax.finetune.kinds import kind, prompt
from electra_jax.finetune.kinds.kind import Kind, Predictions, Scores, Task, TaskSpec
from electra_jax.model.task_heads import HeadShape
from electra_jax.ops import losses
from electra_jax.tokenizers.api import Tokenizer

# ---------------------------------------------------------------------------------------------
# Files


def read_classes(task: Task, source: Source) -> tuple[list[TextExample], Task]:
    """Texts with a class each; a training file also gives the classes, if they are not known."""
    task = with_written_labels(task, source)
    reader = texts.class_reader(task.labels, task.written_labels)
    examples = list(texts.read(source, reader))
    if examples and not task.labels and source.labelled is not None:
        examples = texts.without_stand_ins(examples, source.complaints)
        labels = texts.find_labels((example.label for example in examples), source.where)
        task = dataclasses.replace(task, labels=labels)
    return examples, task


def with_written_labels(task: Task, source: Source) -> Task:
    """The task with the numbers that its training file has for labels that are names."""
    is_unknown = task.labels and not task.spec.labels and not task.written_labels
    if not is_unknown or source.split != 'train':
        return task
    return dataclasses.replace(task, written_labels=texts.written_labels(source, task.labels))


def read_scores(task: Task, source: Source) -> tuple[list[TextExample], Task]:
    """Texts with a score each; a training file also gives their range, if it is not known."""
    bounds = task.spec.score_range
    examples = list(texts.read(source, texts.score_reader(bounds)))
    if examples and task.score_range is None and source.labelled is not None:
        scores = (float(e.label) for e in examples if e.label is not None)
        span = bounds or texts.score_span(scores, source.where)
        task = dataclasses.replace(task, score_range=span)
    return examples, task


def from_line(task: Task, name: str, line: str, where: str) -> TextExample:
    """A text, or two texts with a tab between."""
    first, tab, second = line.partition('\t')
    is_pair = bool(tab) if task.any_pairs else task.usual_columns.text_b is not None
    first, second = first.strip(), second.strip()
    if is_pair != bool(tab) or not first or (is_pair and not second):
        single = 'one text without a tab (two, if --columns=text_b=text_b is typed)'
        wanted = 'two texts with a tab between' if is_pair else single
        raise UnusableError('bad_width', f'{wanted} expected on a line, found {line!r:.60}')
    columns = task.usual_columns
    names = texts.named(columns.text_a, columns.text_b)
    return TextExample(name, first, second if tab else None, None, where, names)


# ---------------------------------------------------------------------------------------------
# Token rows


def class_features(tokenizer: Tokenizer, examples: Sequence[TextExample], task: Task) -> Rows:
    """Rows of `text_rows` or of a prompt; 'label' is the number of the class, -1: not given."""
    numbers = kind.numbered(task.labels)
    labels = {'label': np.array([numbers[example.label] for example in examples], np.int32)}
    if task.style == prompt.STYLE:
        return prompt.rows(tokenizer, examples, task, labels)
    return text_rows(tokenizer, examples, task.row_length, labels)


def class_head(task: Task) -> HeadShape:
    """A logit for each class."""
    return (
        prompt.head(task)
        if task.style == prompt.STYLE
        else task.head_shape('row', len(task.labels))
    )


def score_features(tokenizer: Tokenizer, examples: Sequence[TextExample], task: Task) -> Rows:
    """Rows as `text_rows` makes them; 'target' is the score in its range, NaN: not given."""
    low, high = task.score_range or (0.0, 1.0)
    scores = [float('nan') if e.label is None else float(e.label) for e in examples]
    target = ((np.array(scores) - low) / (high - low)).astype(np.float32)
    return text_rows(tokenizer, examples, task.row_length, {'target': target})


def text_rows(
    tokenizer: Tokenizer,
    examples: Sequence[TextExample],
    row_length: int,
    numbers: dict[str, np.ndarray],
) -> Rows:
    """[CLS] a [SEP] or [CLS] a [SEP] b [SEP], types 0 and 1; the longer text of a pair is cut."""
    first = encode_all(tokenizer.encode_batch, [example.text_a for example in examples])
    second = encode_all(tokenizer.encode_batch, [example.text_b or '' for example in examples])
    cls, sep = (np.array([x], np.int32) for x in (tokenizer.special.cls, tokenizer.special.sep))
    tokens, second_at, cut = [], [], []
    for i, (example, a, b) in enumerate(zip(examples, first, second, strict=True)):
        b, end = (b[:0], []) if example.text_b is None else (b, [sep])
        keep_a, keep_b = truncated(len(a), len(b), max(row_length - 2 - len(end), 0))
        tokens.append(np.concatenate([cls, a[:keep_a], sep, b[:keep_b], *end]))
        second_at.append(keep_a + 2)
        cut += [i] if keep_a + keep_b < len(a) + len(b) else []
    example_of = np.arange(len(examples), dtype=np.int32)
    return Rows(ragged(tokens), np.array(second_at, np.int32), example_of, numbers, {}, cut=cut)


# ---------------------------------------------------------------------------------------------
# The loss of classes


def class_loss(task: Task, outputs: kind.HeadOutputs, batch: kind.Batch) -> jax.Array:
    """The cross-entropy of each row [B], times the weight of its class."""
    label_B = batch['label']
    loss_B = losses.softmax_cross_entropy(outputs['logits'], label_B)
    if not task.class_weights:
        return loss_B
    weight_C = jnp.asarray(task.class_weights, jnp.float32)
    return loss_B * weight_C[jnp.maximum(label_B, 0)]


# ---------------------------------------------------------------------------------------------
# Answers and their scores


def class_answers(
    task: Task, examples: Sequence[TextExample], rows: Rows, outputs: kind.RowOutputs
) -> np.ndarray:
    """Probabilities [examples, C]."""
    return kind.softmax(np.stack([output['logits'] for output in outputs]))


def score_answers(
    task: Task, examples: Sequence[TextExample], rows: Rows, outputs: kind.RowOutputs
) -> np.ndarray:
    """Scores [examples]."""
    low, high = task.score_range or (0.0, 1.0)
    return low + (high - low) * np.array([float(output['logits'][0]) for output in outputs])


def _gold(predictions: Predictions) -> list[Any]:
    """The true class or score of each text."""
    return [example.label for example in predictions.examples]


def best_classes(predictions: Predictions) -> list[str]:
    """The likeliest class of each text."""
    return [predictions.task.labels[number] for number in np.argmax(predictions.values, axis=-1)]


def class_scores(names: Sequence[str], gold: Sequence[str], predicted: Sequence[str]) -> Scores:
    """Metrics of predicted classes: some of 'accuracy', 'f1', 'macro_f1' and 'matthews'."""
    gold_B, predicted_B = np.array(gold), np.array(predicted)
    notes = []
    if len(set(predicted)) == 1 and len(set(gold)) > 1:
        notes.append(f'every prediction is {predicted[0]!r}')
    values = {name: _class_metric(name, gold_B, predicted_B) for name in names}
    return Scores(values, tuple(notes))


def _class_metric(name: str, gold_B: np.ndarray, predicted_B: np.ndarray) -> float:
    if name == 'accuracy':
        return float(np.mean(gold_B == predicted_B))
    # Here and below: scikit-learn takes a second to import, and only scoring needs it.
    from sklearn import metrics

    if name == 'matthews':
        # One class everywhere: 0 by convention, and scikit-learn would warn.
        is_constant = len(np.union1d(gold_B, predicted_B)) == 1
        return 0.0 if is_constant else float(metrics.matthews_corrcoef(gold_B, predicted_B))
    # 'f1' is of the class '1', as GLUE has it; 'macro_f1' the mean over the classes that occur.
    labels, average = (['1'], 'micro') if name == 'f1' else (None, 'macro')
    return float(
        metrics.f1_score(gold_B, predicted_B, labels=labels, average=average, zero_division=0)
    )


def regression_scores(
    names: Sequence[str], gold: Sequence[float], predicted: Sequence[float]
) -> Scores:
    """Metrics of predicted scores: some of 'pearson', 'spearman' and 'mse'.

    A correlation that is not defined (one side is constant) counts as 0, and a note reports it.
    """
    gold_B, predicted_B = np.asarray(gold, np.float64), np.asarray(predicted, np.float64)
    values, notes = {}, []
    for name in names:
        values[name], note = _score_metric(name, gold_B, predicted_B)
        notes += [note] if note else []
    return Scores(values, tuple(notes))


def _score_metric(
    name: str, gold_B: np.ndarray, predicted_B: np.ndarray
) -> tuple[float, str | None]:
    if name == 'mse':
        return float(np.mean((gold_B - predicted_B) ** 2)), None
    from scipy import stats

    correlation = {'pearson': stats.pearsonr, 'spearman': stats.spearmanr}[name]
    for side, values_B in (('prediction', predicted_B), ('true score', gold_B)):
        if np.all(values_B == values_B[0]):
            return 0.0, f'{name} is not defined: every {side} is {values_B[0]:g}; counted as 0'
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # nearly constant input is handled below
        value = float(correlation(gold_B, predicted_B).statistic)
    if not np.isfinite(value):
        return 0.0, f'{name} is not defined for scores this close together; counted as 0'
    return value, None


def trivial_class(
    task: Task, known: Sequence[TextExample], examples: Sequence[TextExample]
) -> dict[str, np.ndarray]:
    """The most frequent class."""
    counts = collections.Counter(example.label for example in known if example.label is not None)
    best = max(counts, key=counts.__getitem__)
    probs_C = np.eye(len(task.labels))[task.labels.index(str(best))]
    return {f'{best!r} for every row': np.tile(probs_C, (len(examples), 1))}


def trivial_score(
    task: Task, known: Sequence[TextExample], examples: Sequence[TextExample]
) -> dict[str, np.ndarray]:
    """The mean score."""
    mean = float(np.mean([float(e.label) for e in known if e.label is not None]))
    return {f'the mean, {mean:.4g}, for every row': np.full(len(examples), mean)}


# ---------------------------------------------------------------------------------------------
# What is written


def classes_to_json(predictions: Predictions) -> Iterator[dict[str, Any]]:
    """The likeliest class of each text, and the probability of every class."""
    rows = zip(predictions.examples, best_classes(predictions), predictions.values, strict=True)
    for example, best, probs_C in rows:
        probabilities = zip(predictions.task.labels, map(kind.json_number, probs_C), strict=True)
        yield answered(example, {'prediction': best, 'probabilities': dict(probabilities)})


def scores_to_json(predictions: Predictions) -> Iterator[dict[str, Any]]:
    """The score of each text."""
    for example, score in zip(predictions.examples, predictions.values, strict=True):
        yield answered(example, {'prediction': kind.json_number(score)})


def write_scores(folder: pathlib.Path, split: str, predictions: Predictions) -> None:
    """The file for GLUE's judge: scores within their range."""
    low, high = predictions.task.spec.score_range or (-np.inf, np.inf)
    scores = [f'{min(max(float(score), low), high):.3f}' for score in predictions.values]
    glue.write(folder, split, predictions, scores)


def draw_classes(folder: pathlib.Path, split: str, predictions: Predictions) -> None:
    """How many texts of each true class are given each class."""
    labels = predictions.task.labels
    gold, best = map(labels.index, _gold(predictions)), np.argmax(predictions.values, axis=-1)
    title = f'{predictions.task.name}, {split}'
    plots.confusion(folder / f'{split}_confusion.png', list(gold), best, labels, title)


def draw_scores(folder: pathlib.Path, split: str, predictions: Predictions) -> None:
    """Predicted against true scores."""
    title = f'{predictions.task.name}, {split}'
    plots.scatter(folder / f'{split}_scores.png', _gold(predictions), predictions.values, title)


# ---------------------------------------------------------------------------------------------
# The kinds

STYLES = ('reference', 'huggingface', 'mean', 'modernbert', 'modernbert_cls')
# Pairs, and scores, may be called as their fields are.
_PAIR, _SCORE = {'text_a': 'text_a', 'text_b': 'text_b'}, {'label': 'score'}
OWN_FILES = TaskFiles(columns=Columns('text', None, 'label'), others=(_PAIR,))


def _score_notes(task: Task) -> list[str]:
    low, high = task.score_range or (0.0, 1.0)
    is_scaled = (low, high) != (0.0, 1.0)
    scaled = f'its output is the score scaled from {low:g}..{high:g} to 0..1'
    return [scaled] if is_scaled else []


CLASSIFICATION = Kind(
    own_task='text',
    own_spec=TaskSpec(OWN_FILES, ('accuracy', 'macro_f1')),
    styles=(*STYLES, prompt.STYLE),
    read=read_classes,
    inputs=('text_a', 'text_b'),
    from_line=from_line,
    # A pair is the same the other way round.
    content=lambda example: sorted((example.text_a, example.text_b or '')),
    head=class_head,
    start=prompt.start,
    features=class_features,
    loss=class_loss,
    class_counts=lambda examples: collections.Counter(str(e.label) for e in examples),
    answers=class_answers,
    has_label=lambda example: example.label is not None,
    score=lambda predictions: class_scores(
        predictions.task.spec.metrics, _gold(predictions), best_classes(predictions)
    ),
    trivial=trivial_class,
    to_json=classes_to_json,
    write=lambda folder, split, predictions: glue.write(
        folder, split, predictions, best_classes(predictions)
    ),
    draw=draw_classes,
    means=('accuracy',),
    foreign_fields=lambda labels: {'labels': labels},
)

REGRESSION = CLASSIFICATION._replace(
    own_task='text_regression',
    own_spec=TaskSpec(
        dataclasses.replace(OWN_FILES, others=(_PAIR, _SCORE)), ('pearson', 'spearman', 'mse')
    ),
    styles=STYLES,
    read=read_scores,
    head=lambda task: task.head_shape('row', 1),
    features=score_features,
    class_counts=None,
    # From the score as a share of its range (STS: score / 5).
    loss=lambda task, outputs, batch: jnp.square(outputs['logits'][:, 0] - batch['target']),
    answers=score_answers,
    score=lambda predictions: regression_scores(
        predictions.task.spec.metrics, _gold(predictions), predictions.values
    ),
    trivial=trivial_score,
    to_json=scores_to_json,
    write=write_scores,
    draw=draw_scores,
    foreign_fields=lambda labels: {'score_range': (0.0, 1.0)},
    foreign_notes=_score_notes,
)
