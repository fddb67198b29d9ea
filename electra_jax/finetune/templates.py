"""Templates: sentences with slots for a text, or two, and for the word of a label."""

import re
from typing import NamedTuple

import numpy as np

from electra_jax.core.errors import ConfigError
from electra_jax.finetune.features import truncated
from electra_jax.tokenizers.api import Tokenizer

Labels = tuple[tuple[str, tuple[str, ...]], ...]  # label -> its words
_SLOT = re.compile(r'\{(\w*)\}')
SLOTS = ('text', 'text_b', 'label')


class Names(NamedTuple):
    """What messages call the things that a person chooses."""

    template: str = '--template'
    labels: str = '--labels'


FLAGS = Names()


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


def parse(text: str | None, labels: str | Labels | None, called: Names = FLAGS) -> Template:
    """The template that is named or written, with the labels that are given.

    >>> parse('{text} All in all {label}.', 'pos=good|great,neg=bad').labels
    (('pos', ('good', 'great')), ('neg', ('bad',)))

    Raises:
        ConfigError: slots or labels are missing, or there is no such template.
    """
    names = ', '.join(TEMPLATES)
    if text is None:
        raise ConfigError(
            f'{called.template} is not given: type one of {names}, or a sentence with the slots '
            '{text} and {label}'
        )
    found = TEMPLATES.get(text) or Template(text)
    _check_slots(found.text, names, called)
    if labels is not None:
        found = found._replace(labels=_labels(labels, called))
    if not found.labels:
        raise ConfigError(
            f'{called.labels} is not given, and the template {text!r} has none of its own: type '
            'them as in sports,politics or 1=good|great,0=bad'
        )
    return found


def _check_slots(text: str, names: str, called: Names) -> None:
    slots = _SLOT.findall(text)
    unknown = [slot for slot in slots if slot not in SLOTS]
    if unknown or not {'text', 'label'} <= set(slots) or len(set(slots)) < len(slots):
        raise ConfigError(
            f'{called.template} is {text!r}, allowed: {names}, or a sentence with {{text}} and '
            '{label} once each, and {text_b} for a second text'
        )


def _labels(given: str | Labels, called: Names) -> Labels:
    found = _parse_labels(given, called) if isinstance(given, str) else given
    if len(found) < 2:
        raise ConfigError(f'{called.labels} is {given!r}, and at least two are needed')
    return found


def _parse_labels(text: str, called: Names) -> Labels:
    found: dict[str, tuple[str, ...]] = {}
    for part in text.split(','):
        name, equals, words = (one.strip() for one in part.partition('='))
        listed = tuple(word.strip() for word in words.split('|')) if equals else (name,)
        if not name or not all(listed) or name in found:
            raise ConfigError(
                f'{called.labels} is {text!r}: names separated by commas are expected, each once, '
                'perhaps with =WORD|WORD after it'
            )
        found[name] = listed
    return tuple(found.items())


class Words(NamedTuple):
    """The words of all labels as tokens."""

    ids: list[np.ndarray]  # int32, of each word
    label: np.ndarray  # int, the number of its label


def _encode_words(tokenizer: Tokenizer, labels: Labels, called: Names) -> Words:
    """The words of the labels; ConfigError where the vocabulary cannot tell them apart."""
    pairs = [(word, number) for number, (_, words) in enumerate(labels) for word in words]
    ids = tokenizer.encode_batch([word for word, _ in pairs])
    seen: dict[tuple[int, ...], str] = {}
    for (word, _), one in zip(pairs, ids, strict=True):
        key = tuple(one.tolist())
        if not key or tokenizer.special.unk in key or key in seen:
            same = f'the same tokens as {seen[key]!r}' if key in seen else 'not in the vocabulary'
            raise ConfigError(
                f'{called.labels} has the word {word!r}, which is {same}: name another one'
            )
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


def _encode_template(tokenizer: Tokenizer, template: Template) -> Parts:
    """The tokens of a template."""
    pieces = _SLOT.split(template.text)
    return Parts(pieces[1::2], tokenizer.encode_batch(pieces[::2]))


# ---------------------------------------------------------------------------------------------
# Templates with texts in them


class Filled(NamedTuple):
    """A template with a text and a label's word in it."""

    ids: np.ndarray  # int32 [T]
    begin: int  # of the word
    end: int


class Prompt(NamedTuple):
    """A template and the words of its labels as tokens."""

    parts: Parts
    words: Words
    room: int  # tokens of texts that a row has, next to the longest word

    def fill(self, a: np.ndarray, b: np.ndarray) -> tuple[list[Filled], bool]:
        """The template with a text, or two, and each word; and whether the text was cut.

        The longer one of two is cut to the room that there is; `b` is empty where there is none.
        """
        keep_a, keep_b = truncated(len(a), len(b), self.room)
        slots = {'text': a[:keep_a], 'text_b': b[:keep_b]}
        made = []
        for word in self.words.ids:
            ids, begin = self.parts.fill({**slots, 'label': word})
            made.append(Filled(ids, begin, begin + len(word)))
        return made, keep_a + keep_b < len(a) + len(b)


def encode(
    tokenizer: Tokenizer, template: Template, row_length: int, called: Names = FLAGS
) -> Prompt:
    """A template for rows of so many tokens, [CLS] and [SEP] included.

    Raises:
        ConfigError: the vocabulary cannot tell its words apart, or there is no room for a text.
    """
    parts = _encode_template(tokenizer, template)
    words = _encode_words(tokenizer, template.labels, called)
    room = row_length - 2 - parts.tokens() - max(map(len, words.ids))
    if room < 1:
        raise ConfigError(
            f'{called.template} is {template.text!r}, which leaves no room for a text in rows of '
            f'{row_length} tokens: shorten it'
        )
    return Prompt(parts, words, room)
