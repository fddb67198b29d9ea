"""Classes of texts without training: which label's word fits best into a template.

The discriminator is asked whether the word is the original one (Xia et al. 2022, "Prompting
ELECTRA"), the generator how likely it is where the template has [MASK]. A word of several pieces
has the mean of their scores, a label of several words the mean of theirs.
"""

import collections
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from electra_jax.core import metric_table
from electra_jax.core.errors import unknown
from electra_jax.finetune import templates
from electra_jax.finetune.examples import TextExample, answered
from electra_jax.finetune.files.tables import Columns
from electra_jax.finetune.kinds.kind import Task, json_number, softmax
from electra_jax.finetune.templates import Filled, Prompt
from electra_jax.inference.abilities import score
from electra_jax.inference.abilities.detect import note_untrained
from electra_jax.inference.abilities.fill_mask import check_generates
from electra_jax.inference.ability import Ability, Answer, Notes, Options
from electra_jax.inference.opened import Opened
from electra_jax.inference.rows import to_rows
from electra_jax.tokenizers import unknown as unknowns

_AT_ONCE = 128  # texts, each of which becomes a row for each word, or for each of its pieces


class Classified(NamedTuple):
    """The label of a text."""

    prediction: str
    probabilities: dict[str, float]  # of each label: its share among them


# Filled templates -> the score of the word in each.
Score = Callable[[Sequence[Filled]], np.ndarray]


def bind(opened: Opened, options: Options) -> Answer:
    """The function that gives texts one of the labels."""
    template = templates.parse(options.template, options.labels)
    prompt = templates.encode(opened.tokenizer, template, opened.config.data.row_length)
    names = [name for name, _ in template.labels]
    name = options.scorer or ('discriminator' if opened.detects else 'generator')
    if name not in SCORERS:
        raise unknown('--scorer', name, SCORERS)
    scores = SCORERS[name](opened)

    def classify(examples: Sequence[TextExample], notes: Notes) -> Iterator[Classified]:
        if name == 'discriminator':
            note_untrained(opened, notes)
        by_word = scores(_filled(opened, prompt, examples, notes)).reshape(len(examples), -1)
        chosen = [prompt.labels == number for number in range(len(names))]
        by_label = np.stack([by_word[:, words].mean(axis=1) for words in chosen], axis=1)
        for probs in softmax(by_label):
            shares = dict(zip(names, probs.tolist(), strict=True))
            yield Classified(max(names, key=shares.__getitem__), shares)

    return classify


def _filled(
    opened: Opened, prompt: Prompt, examples: Sequence[TextExample], notes: Notes
) -> list[Filled]:
    """The template with each text and each word."""
    made = []
    texts = [text for one in examples for text in (one.text_a, one.text_b or '')]
    encoded = opened.tokenizer.encode_batch(texts)
    notes.unknown.merge(unknowns.count(opened.tokenizer, texts, encoded))
    for example, a, b in zip(examples, encoded[::2], encoded[1::2], strict=True):
        if not len(a):
            notes.complaints.count('no_token', example.where)
        filled, is_cut = prompt.fill(a, b)
        if is_cut:
            notes.complaints.count('cut', example.where)
        made += filled
    return made


def _by_discriminator(opened: Opened) -> Score:
    terms = score.SCORERS['discriminator'].bind(opened)

    def scores(filled: Sequence[Filled]) -> np.ndarray:
        found = zip(terms([one.ids for one in filled]), filled, strict=True)
        return np.array([np.mean(term[one.begin : one.end]) for term, one in found])

    return scores


def _by_generator(opened: Opened) -> Score:
    check_generates(opened)
    run = opened.program(('generator',), lambda model: score.likelihoods(opened, model))

    def scores(filled: Sequence[Filled]) -> np.ndarray:
        # All pieces of the word are masked, and each is asked for in a row of its own.
        rows, position, target, of = [], [], [], []
        for number, one in enumerate(filled):
            masked = one.ids.copy()
            masked[one.begin : one.end] = opened.tokenizer.special.mask
            for at in range(one.begin, one.end):
                rows.append(masked)
                position.append(at + 1)
                target.append(int(one.ids[at]))
                of.append(number)
        outputs = run(to_rows(opened, rows, position=position, target=target))
        each = np.array([float(output['score'][0]) for output in outputs])
        return np.bincount(of, each) / np.bincount(of)

    return scores


# Values of `predict --scorer` here. To add one: its function, and a row.
SCORERS: dict[str, Callable[[Opened], Score]] = {
    'discriminator': _by_discriminator,
    'generator': _by_generator,
}


# ---------------------------------------------------------------------------------------------
# Files


def task(opened: Opened, options: Options) -> Task:
    """Texts, or pairs of them, with a label that may be known."""
    template = templates.parse(options.template, options.labels)
    columns = Columns(text_b='text_b') if template.is_pair else Columns()
    names = tuple(name for name, _ in template.labels)
    return dataclasses.replace(opened.task_of(columns), labels=names)


def to_json(example: TextExample, found: Classified) -> dict[str, Any]:
    """The text, the likeliest label, and the share of each."""
    probabilities = {name: json_number(value) for name, value in found.probabilities.items()}
    return answered(example, {'prediction': found.prediction, 'probabilities': probabilities})


def measure(examples: Sequence[TextExample], found: Sequence[Classified]) -> dict[str, float]:
    """Of the rows with a label: the share that is right, its standard error, and two controls.

    `majority`: what the most frequent label reaches. `shuffled_labels`: what these predictions are
    expected to reach if the labels are shuffled among the rows.
    """
    pairs = [(x.label, y.prediction) for x, y in zip(examples, found, strict=True) if x.label]
    if not pairs:
        return {}
    count = len(pairs)
    gold, predicted = (collections.Counter(side) for side in zip(*pairs, strict=True))
    accuracy = sum(label == prediction for label, prediction in pairs) / count
    return {
        'accuracy': accuracy,
        'standard_error': metric_table.standard_error(accuracy, count),
        'majority': max(gold.values()) / count,
        'shuffled_labels': sum(gold[name] * predicted[name] for name in gold) / count**2,
    }


ZERO_SHOT = Ability(
    bind, to_json, task, measure=measure, at_once=_AT_ONCE,
    options=('scorer', 'template', 'labels'), labelled=True,
)  # fmt: skip
