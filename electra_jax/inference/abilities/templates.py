"""Templates of zero-shot classification: a sentence with slots for a text and a label's word."""

import re
from typing import NamedTuple

import numpy as np

from electra_jax.core.errors import ConfigError
from electra_jax.inference.ability import Labels
from electra_jax.tokenizers.api import Tokenizer

_SLOT = re.compile(r'\{(\w*)\}')
SLOTS = ('text', 'text_b', 'label')


class Template(NamedTuple):
    """A sentence with slots, and usual labels."""

    text: str
    labels: Labels = ()  # (): they must be given

    @property
    def is_pair(self) -> bool:
        """Whether it is about two texts."""
        return '{text_b}' in self.text


# By name, for `predict --template`. To add one: a row here.
TEMPLATES: dict[str, Template] = {
    'sentiment': Template(
        '{text} It was {label}.', (('negative', ('bad',)), ('positive', ('good',)))
    ),
    'topic': Template('{text} This is about {label}.'),
    'entailment': Template(
        '{text}? {label}, {text_b}',
        (('entailment', ('yes',)), ('neutral', ('maybe',)), ('contradiction', ('no',))),
    ),
}


def parse(text: str | None, labels: str | Labels | None) -> Template:
    """The template that is named or written, with the labels that are given.

    >>> parse('{text} All in all {label}.', 'pos=good|great,neg=bad').labels
    (('pos', ('good', 'great')), ('neg', ('bad',)))

    Raises:
        ConfigError: slots or labels are missing, or there is no such template.
    """
    names = ', '.join(TEMPLATES)
    if text is None:
        raise ConfigError(
            f'--template is not given: type one of {names}, or a sentence with the slots '
            '{text} and {label}'
        )
    found = TEMPLATES.get(text) or Template(text)
    _check_slots(found.text, names)
    if labels is not None:
        found = found._replace(labels=_labels(labels))
    if not found.labels:
        raise ConfigError(
            f'--labels is not given, and the template {text!r} has none of its own: type them as '
            'in sports,politics or 1=good|great,0=bad'
        )
    return found


def _check_slots(text: str, names: str) -> None:
    slots = _SLOT.findall(text)
    unknown = [slot for slot in slots if slot not in SLOTS]
    if unknown or not {'text', 'label'} <= set(slots) or len(set(slots)) < len(slots):
        raise ConfigError(
            f'--template is {text!r}, allowed: {names}, or a sentence with {{text}} and {{label}} '
            'once each, and {text_b} for a second text'
        )


def _labels(given: str | Labels) -> Labels:
    found = _parse_labels(given) if isinstance(given, str) else given
    if len(found) < 2:
        raise ConfigError(f'--labels is {given!r}, and at least two are needed')
    return found


def _parse_labels(text: str) -> Labels:
    found: dict[str, tuple[str, ...]] = {}
    for part in text.split(','):
        name, equals, words = (one.strip() for one in part.partition('='))
        listed = tuple(word.strip() for word in words.split('|')) if equals else (name,)
        if not name or not all(listed) or name in found:
            raise ConfigError(
                f'--labels is {text!r}: names separated by commas are expected, each once, perhaps '
                'with =WORD|WORD after it'
            )
        found[name] = listed
    return tuple(found.items())


class Words(NamedTuple):
    """The words of all labels as tokens."""

    ids: list[np.ndarray]  # int32, of each word
    label: np.ndarray  # int, the number of its label


def encode_words(tokenizer: Tokenizer, labels: Labels) -> Words:
    """The words of the labels; ConfigError where the vocabulary cannot tell them apart."""
    pairs = [(word, number) for number, (_, words) in enumerate(labels) for word in words]
    ids = tokenizer.encode_batch([word for word, _ in pairs])
    seen: dict[tuple[int, ...], str] = {}
    for (word, _), one in zip(pairs, ids, strict=True):
        key = tuple(one.tolist())
        if not key or tokenizer.special.unk in key or key in seen:
            same = f'the same tokens as {seen[key]!r}' if key in seen else 'not in the vocabulary'
            raise ConfigError(f'--labels has the word {word!r}, which is {same}: name another one')
        seen[key] = word
    return Words(ids, np.array([number for _, number in pairs]))


class Parts(NamedTuple):
    """A template as tokens: before each slot, and at its end."""

    slots: list[str]  # in their order
    fixed: list[np.ndarray]  # int32, one more than slots

    def tokens(self) -> int:
        """How many tokens stand in every row."""
        return sum(map(len, self.fixed))

    def fill(self, values: dict[str, np.ndarray]) -> tuple[np.ndarray, int]:
        """The ids with something in each slot, int32 [T], and where the label begins."""
        pieces, at, label = [self.fixed[0]], len(self.fixed[0]), 0
        for slot, after in zip(self.slots, self.fixed[1:], strict=True):
            label = at if slot == 'label' else label
            pieces += [values[slot], after]
            at += len(values[slot]) + len(after)
        return np.concatenate(pieces), label


def encode_template(tokenizer: Tokenizer, template: Template) -> Parts:
    """The tokens of a template."""
    pieces = _SLOT.split(template.text)
    return Parts(pieces[1::2], tokenizer.encode_batch(pieces[::2]))
