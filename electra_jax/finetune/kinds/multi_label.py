"""Texts, or pairs of texts, that may belong to several classes at once, or to none."""

import collections
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.finetune.examples import TextExample, answered
from electra_jax.finetune.features import Rows
from electra_jax.finetune.files import texts
from electra_jax.finetune.files.source import Source
from electra_jax.finetune.kinds import kind
from electra_jax.finetune.kinds.kind import Predictions, Scores, Task, TaskSpec
from electra_jax.finetune.kinds.text import (
    CLASSIFICATION,
    OWN_FILES,
    STYLES,
    text_rows,
    with_written_labels,
)
from electra_jax.ops import losses
from electra_jax.tokenizers.api import Tokenizer


def read(task: Task, source: Source) -> tuple[list[TextExample], Task]:
    """Texts with any number of classes each; a training file also gives the classes."""
    task = with_written_labels(task, source)
    examples = list(texts.read(source, texts.classes_reader(task.labels, task.written_labels)))
    if examples and not task.labels and source.labelled is not None:
        found = [label for example in examples for label in example.label or ()]
        several = texts.joined(collections.Counter(found))
        source.complaints.note(f'{source.where}: {several}' if several else None)
        task = dataclasses.replace(task, labels=texts.find_labels(found, source.where))
    return examples, task


def features(tokenizer: Tokenizer, examples: Sequence[TextExample], task: Task) -> Rows:
    """Rows of texts; 'classes' [rows, C] is 1 where the text is of the class."""
    classes = np.array(
        [[name in (example.label or ()) for name in task.labels] for example in examples],
        np.float32,
    ).reshape(len(examples), len(task.labels))
    return text_rows(tokenizer, examples, task.row_length, {'classes': classes})


def loss(task: Task, outputs: kind.HeadOutputs, batch: kind.Batch) -> jax.Array:
    """The mean over classes of the cross-entropies of "is the text of the class?" [B]."""
    return jnp.mean(losses.sigmoid_cross_entropy(outputs['logits'], batch['classes']), axis=1)


def answers(
    task: Task, examples: Sequence[TextExample], rows: Rows, outputs: kind.RowOutputs
) -> np.ndarray:
    """The probability of each class [examples, C]; those of a text have no fixed sum."""
    logits_BC = np.stack([output['logits'] for output in outputs]).astype(np.float64)
    return 0.5 * (1 + np.tanh(0.5 * logits_BC))  # the sigmoid, which never overflows so


def likely(predictions: Predictions) -> np.ndarray:
    """Whether each class is more likely than not [examples, C]."""
    return np.asarray(predictions.values) > 0.5


def score(predictions: Predictions) -> Scores:
    """F1 over all decisions (micro), its mean over classes (macro), and the share of right rows."""
    from sklearn import metrics  # takes a second to import, and only scoring needs it

    names, predicted_BC = predictions.task.labels, likely(predictions)
    gold_BC = np.array([[n in e.label for n in names] for e in predictions.examples])

    def f1(average: str) -> float:
        return float(metrics.f1_score(gold_BC, predicted_BC, average=average, zero_division=0))

    values = {
        'micro_f1': f1('micro'),
        'macro_f1': f1('macro'),
        'accuracy': float(np.mean((gold_BC == predicted_BC).all(axis=1))),
    }
    notes = () if predicted_BC.any() else ('no class is predicted for any text',)
    return Scores(values, notes)


def trivial(
    task: Task, known: Sequence[TextExample], examples: Sequence[TextExample]
) -> dict[str, np.ndarray]:
    """No class, or the most frequent one."""
    counts = collections.Counter(name for example in known for name in example.label or ())
    shape = (len(examples), len(task.labels))
    some = {'no class for every row': np.zeros(shape)}
    for best, _ in counts.most_common(1):  # of texts to score alone, none may have a class
        probs_C = np.eye(len(task.labels))[task.labels.index(best)]
        some[f'{best!r} for every row'] = np.broadcast_to(probs_C, shape)
    return some


def to_json(predictions: Predictions) -> Iterator[dict[str, Any]]:
    """The likely classes of each text, and the probability of every class."""
    names = predictions.task.labels
    rows = zip(predictions.examples, likely(predictions), predictions.values, strict=True)
    for example, likely_C, probs_C in rows:
        chosen = [name for name, is_likely in zip(names, likely_C, strict=True) if is_likely]
        probabilities = dict(zip(names, map(kind.json_number, probs_C), strict=True))
        yield answered(example, {'prediction': chosen, 'probabilities': probabilities})


MULTI_LABEL = CLASSIFICATION._replace(
    styles=STYLES,
    own_task='text_multi_label',
    own_spec=TaskSpec(OWN_FILES, ('micro_f1', 'macro_f1', 'accuracy')),
    read=read,
    features=features,
    loss=loss,
    class_counts=None,
    answers=answers,
    score=score,
    trivial=trivial,
    to_json=to_json,
    write=lambda folder, split, predictions: None,
    draw=lambda folder, split, predictions: None,
)
