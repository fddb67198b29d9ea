"""Images and texts that belong together: each image looks for its text, each text for its image.

As with pairs of texts (`kinds.contrastive`), image and text of a row do not see each other. The
image stands before an empty text of its own, whose [CLS] is its vector.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from electra_jax.core import pictures
from electra_jax.finetune.examples import TextExample
from electra_jax.finetune.features import Rows, encode_all, texts_apart
from electra_jax.finetune.files.lines import UnusableError
from electra_jax.finetune.files.locate import TaskFiles
from electra_jax.finetune.files.source import Source
from electra_jax.finetune.files.tables import Columns
from electra_jax.finetune.kinds import contrastive, images
from electra_jax.finetune.kinds.contrastive import CONTRASTIVE, Found
from electra_jax.finetune.kinds.kind import Task
from electra_jax.model.images import PIXELS
from electra_jax.tokenizers.api import Tokenizer


def read(task: Task, source: Source) -> tuple[list[TextExample], Task]:
    """Images with a text each."""
    pictures.check_installed()
    examples, task = contrastive.read(task, source)
    return list(images.usable(examples, source.complaints)), task


def from_line(task: Task, name: str, line: str, where: str) -> TextExample:
    """The path of an image and a text with a tab between."""
    example = images.from_line(task, name, line, where)
    if example.text_b is None:
        problem = f'the path of an image, a tab and a text are expected, found {line!r:.60}'
        raise UnusableError('bad_width', problem)
    return example


def features(tokenizer: Tokenizer, examples: Sequence[TextExample], task: Task) -> Rows:
    """Rows of an empty text, which sees the image, and of the text, which does not."""
    pixels, notes = images.images_of(examples, task)
    numbers = contrastive.numbered(examples)
    room = task.row_length - 2
    encoded = encode_all(tokenizer.encode_batch, [str(one.text_b) for one in examples])
    nothing = np.zeros(0, np.int32)
    given = [[nothing, ids[:room], None] for ids in encoded]
    tokens, marks = texts_apart(given, tokenizer.special)
    inside = marks['inside'].values.copy()
    inside[tokens.ends - tokens.lengths()] = 1  # the image's [CLS]
    marks['inside'] = dataclasses.replace(marks['inside'], values=inside)
    first, second = (
        np.array([numbers[text] for text in texts], np.int32)
        for texts in zip(*((one.text_a, str(one.text_b)) for one in examples), strict=True)
    )
    return Rows(
        tokens,
        tokens.lengths(),
        np.arange(len(examples), dtype=np.int32),
        {'first': first, 'second': second, 'wrong': 0 * first - 1, PIXELS: pixels},
        marks,
        cut=[number for number, ids in enumerate(encoded) if len(ids) > room],
        notes=notes,
        texts=2,
    )


def trivial(
    task: Task, known: Sequence[TextExample], examples: Sequence[TextExample]
) -> dict[str, list[Found]]:
    """Chance."""

    def scores(questions: Sequence[str], candidates: Sequence[str]) -> np.ndarray:
        return np.zeros((len(questions), len(candidates)))

    return {'every candidate as likely': contrastive.found(examples, scores)}


IMAGE_RETRIEVAL = CONTRASTIVE._replace(
    own_task='image_retrieval',
    own_spec=dataclasses.replace(
        CONTRASTIVE.own_spec, files=TaskFiles(columns=Columns('image', 'text', None))
    ),
    read=read,
    from_line=from_line,
    content=lambda example: example.text_a,  # all texts about an image are on one side
    features=features,
    trivial=trivial,
)
