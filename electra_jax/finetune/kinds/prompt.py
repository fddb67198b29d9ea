"""Classes of texts by their words in a template: the head of zero-shot classification, trained.

The discriminator's own head learns which word fits (Xia et al. 2022, "Prompting ELECTRA"), so that
nothing is fresh, and 16 to 64 rows of each class have a start. The filled templates of a text stand
side by side in a row, one for each word, and do not see each other.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from electra_jax.core import trees
from electra_jax.core.errors import ConfigError
from electra_jax.finetune import templates
from electra_jax.finetune.examples import TextExample
from electra_jax.finetune.features import Rows, encode_all, ragged, texts_apart
from electra_jax.finetune.kinds.kind import FRESH, PROMPT, HeadStart, Task
from electra_jax.finetune.templates import Names, Template
from electra_jax.model.task_heads import HeadShape
from electra_jax.tokenizers.api import Tokenizer

STYLE = PROMPT  # of heads
_NAMES = Names('config.task.template', 'config.task.words')


def parse(template: str | None, words: str | None, labels: Sequence[str]) -> Template:
    """The template of a task whose classes, if they are known, are `labels`.

    Raises:
        ConfigError: it cannot be used, or has the words of other classes.
    """
    found = templates.parse(template, words, _NAMES)
    named = [name for name, _ in found.labels]
    if labels and set(labels) != set(named):
        typed = ','.join(f'{label}=WORD' for label in labels)
        raise ConfigError(
            f'config.task.words has the classes {", ".join(map(repr, named))}, and the task has '
            f"{', '.join(map(repr, labels))}: type --config.task.words='{typed}', with a word for "
            'each'
        )
    return found


def rows(
    tokenizer: Tokenizer,
    examples: Sequence[TextExample],
    task: Task,
    numbers: dict[str, np.ndarray],
) -> Rows:
    """A row for each example: the template with its text and each word, [CLS] ... [SEP] each.

    The mark 'inside' is 1 at the tokens of words.
    """
    template = parse(task.template, task.words, task.labels)
    _check_texts(template, examples)
    prompt = templates.encode(tokenizer, template, task.row_length)
    first = encode_all(tokenizer.encode_batch, [example.text_a for example in examples])
    second = encode_all(tokenizer.encode_batch, [example.text_b or '' for example in examples])
    texts, inside, cut = [], [], []
    for i, (a, b) in enumerate(zip(first, second, strict=True)):
        filled, is_cut = prompt.fill(a, b)
        texts.append([one.ids for one in filled])
        cut += [i] if is_cut else []
        marked = [np.zeros(len(one.ids) + 2, np.int32) for one in filled]
        for mark, one in zip(marked, filled, strict=True):
            mark[one.begin + 1 : one.end + 1] = 1  # behind [CLS]
        inside.append(np.concatenate(marked))
    tokens, marks = texts_apart(texts, tokenizer.special)
    marks['inside'] = ragged(inside)
    of_row = np.arange(len(examples), dtype=np.int32)
    many = len(prompt.words)
    return Rows(tokens, tokens.lengths(), of_row, numbers, marks, cut=cut, texts=many)


def _check_texts(template: Template, examples: Sequence[TextExample]) -> None:
    """Raises ConfigError if second texts would not be read, or there are none to read."""
    has_pairs = any(example.text_b is not None for example in examples)
    if has_pairs and not template.is_pair:
        raise ConfigError(
            f'{_NAMES.template} is {template.text!r}, which does not read the second text of a '
            "pair: put {text_b} into it, as in '{text}? {label}, {text_b}'"
        )
    if template.is_pair and examples and not has_pairs:
        raise ConfigError(
            f'{_NAMES.template} is {template.text!r}, but there is no second text: leave '
            '{text_b} out, or name the column of it with --config.task.columns.text_b=NAME'
        )


def head(task: Task) -> HeadShape:
    """The discriminator's head, which reads the classes from their words."""
    template = parse(task.template, task.words, task.labels)
    words = tuple(task.labels.index(name) for name, some in template.labels for _ in some)
    return task.head_shape('row', len(task.labels), words)


def start(task: Task, params: Mapping[str, Any]) -> HeadStart:
    """The arrays of the discriminator's head."""
    if task.style != STYLE or not params:
        return FRESH
    setting = f'config.task.head is {STYLE!r}'
    if 'discriminator_head' not in params:
        raise ConfigError(
            f'{setting}, but config.init_from has no head of a discriminator: '
            'name a checkpoint that was pre-trained with one, or type --config.task.head=mean'
        )
    named = trees.named_leaves({'discriminator_head': params['discriminator_head']})
    return HeadStart(
        {f'task_head/{path}': np.asarray(x) for path, x in named},
        parts=('discriminator_head',),
        line="head: the discriminator's, which looks for the word that fits",
        setting=setting,
        otherwise='--config.task.head=mean',
    )
