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


class Template(NamedTuple):
    """A sentence with slots, and usual labels."""

    text: str
    labels: Labels = ()  # (): they must be given
    called: Names = Names()

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


def parse(text: str | None, labels: str | Labels | None, called: Names | None = None) -> Template:
    """The template that is named or written, with the labels that are given.

    >>> parse('{text} All in all {label}.', 'pos=good|great,neg=bad').labels
    (('pos', ('good', 'great')), ('neg', ('bad',)))

    Raises:
        ConfigError: slots or labels are missing, or there is no such template.
    """
    called = called or Names()
    names = ', '.join(TEMPLATES)
    if text is None:
        raise ConfigError(
            f'{called.template} is not given: type one of {names}, or a sentence with the slots '
            '{text} and {label}'
        )
    found = (TEMPLATES.get(text) or Template(text))._replace(called=called)
    slots = _SLOT.findall(found.text)
    is_known = set(slots) <= set(SLOTS) and {'text', 'label'} <= set(slots)
    if not is_known or len(set(slots)) < len(slots):
        raise ConfigError(
            f'{called.template} is {found.text!r}, allowed: {names}, or a sentence with {{text}} '
            'and {label} once each, and {text_b} for a second text'
        )
    if labels is not None:
        listed = _parse_labels(labels, called) if isinstance(labels, str) else labels
        if len(listed) < 2:
            raise ConfigError(f'{called.labels} is {labels!r}, and at least two are needed')
        found = found._replace(labels=listed)
    if not found.labels:
        raise ConfigError(
            f'{called.labels} is not given, and the template {text!r} has none of its own: type '
            'them as in sports,politics or 1=good|great,0=bad'
        )
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


# ---------------------------------------------------------------------------------------------
# Templates as tokens


class Filled(NamedTuple):
    """A template with a text and a label's word in it."""

    ids: np.ndarray  # int32 [T]
    begin: int  # of the word
    end: int


class Prompt(NamedTuple):
    """A template and the words of its labels as tokens."""

    slots: list[str]  # in their order
    fixed: list[np.ndarray]  # int32, before each slot, and at the end
    words: list[np.ndarray]  # int32, the ids of each word of each label
    labels: np.ndarray  # int, the number of each word's label
    room: int  # tokens of texts that a row has, next to the longest word

    def fill(self, a: np.ndarray, b: np.ndarray) -> tuple[list[Filled], bool]:
        """The template with a text, or two, and each word; and whether the text was cut.

        The longer one of two is cut to the room that there is; `b` is empty where there is none.
        """
        keep_a, keep_b = truncated(len(a), len(b), self.room)
        texts = {'text': a[:keep_a], 'text_b': b[:keep_b]}
        made = [self._with({**texts, 'label': word}) for word in self.words]
        return made, keep_a + keep_b < len(a) + len(b)

    def _with(self, values: dict[str, np.ndarray]) -> Filled:
        """The template with something in each slot."""
        inner = zip(self.slots, self.fixed[1:], strict=True)
        pieces = [self.fixed[0], *(x for slot, after in inner for x in (values[slot], after))]
        begin = sum(map(len, pieces[: 1 + 2 * self.slots.index('label')]))
        return Filled(np.concatenate(pieces), begin, begin + len(values['label']))


def encode(tokenizer: Tokenizer, template: Template, row_length: int) -> Prompt:
    """A template for rows of so many tokens, [CLS] and [SEP] included.

    Raises:
        ConfigError: the vocabulary cannot tell its words apart, or there is no room for a text.
    """
    pieces = _SLOT.split(template.text)
    texts = pieces[::2]
    fixed = tokenizer.encode_batch(texts[:1]) + tokenizer.encode_rest(texts[1:])
    words = _encode_words(tokenizer, template)
    labels = [number for number, (_, some) in enumerate(template.labels) for _ in some]
    room = row_length - 2 - sum(map(len, fixed)) - max(map(len, words))
    if room < 1:
        raise ConfigError(
            f'{template.called.template} is {template.text!r}, which leaves no room for a text in '
            f'rows of {row_length} tokens: shorten it'
        )
    return Prompt(pieces[1::2], fixed, words, np.array(labels), room)


def _encode_words(tokenizer: Tokenizer, template: Template) -> list[np.ndarray]:
    """The words of the labels; ConfigError where the vocabulary cannot tell them apart."""
    words = [word for _, some in template.labels for word in some]
    before = template.text.partition('{label}')[0]
    starts = not before or before[-1].isspace()
    encoded = tokenizer.encode_batch(words) if starts else tokenizer.encode_rest(words)
    seen: dict[tuple[int, ...], str] = {}
    for word, ids in zip(words, encoded, strict=True):
        key = tuple(ids.tolist())
        if not key or tokenizer.special.unk in key or key in seen:
            same = f'the same tokens as {seen[key]!r}' if key in seen else 'not in the vocabulary'
            raise ConfigError(
                f'{template.called.labels} has the word {word!r}, which is {same}: name another one'
            )
        seen[key] = word
    return encoded
