"""Images with a class each, and perhaps a text: is this what the picture shows?

An example is a pair of texts whose first one is the path of an image, relative to the file that
names it. The model reads the image before the text (`model.images`).
"""

import dataclasses
import itertools
import os
from collections.abc import Iterator, Sequence

import numpy as np

from electra_jax.core import pictures
from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import ConfigError
from electra_jax.finetune.examples import Names, TextExample
from electra_jax.finetune.features import Rows
from electra_jax.finetune.files.lines import Refusing, UnusableError
from electra_jax.finetune.files.locate import TaskFiles
from electra_jax.finetune.files.source import Source
from electra_jax.finetune.files.tables import Columns, key_of
from electra_jax.finetune.kinds import text
from electra_jax.finetune.kinds.kind import Task, TaskSpec
from electra_jax.model.images import PIXELS
from electra_jax.tokenizers.api import Tokenizer

_LOOKED_AT = 1000  # rows in which a column of texts is looked for

# ---------------------------------------------------------------------------------------------
# Files


def read(task: Task, source: Source) -> tuple[list[TextExample], Task]:
    """Images with a class each, and with a text each if the file has them."""
    pictures.check_installed()
    examples, task = text.read_classes(task, with_texts(source))
    return list(usable(examples, source.complaints)), task


def with_texts(source: Source) -> Source:
    """The source; without a column of texts where it has none and nobody asked for it."""
    column = source.columns.text_b
    if column is None or column != source.files.columns.text_b:
        return source
    quiet = dataclasses.replace(source, complaints=Complaints('data.on_bad_row', 'skip'))
    rows = quiet.rows()
    first = itertools.islice(rows.rows, _LOOKED_AT) if rows.names is None else ()
    has_texts = key_of(rows.names, column) if rows.names else any(column in x.values for x in first)
    if has_texts:
        return source
    return dataclasses.replace(source, columns=dataclasses.replace(source.columns, text_b=None))


def usable(examples: Sequence[TextExample], complaints: Complaints) -> Iterator[TextExample]:
    """The examples whose image can be read; the others are refused or counted."""
    for example in examples:
        with Refusing(complaints, example.where):
            for change in _picture(example, None).changes:
                complaints.count(change, example.where)
            yield example


def _picture(example: TextExample, size: int | None) -> pictures.Picture:
    folder = os.path.dirname(example.where.rpartition(':')[0])
    try:
        return pictures.read(os.path.join(folder, example.text_a), size)
    except pictures.UnusableImageError as error:
        raise UnusableError('bad_image', str(error)) from error


def from_line(task: Task, name: str, line: str, where: str) -> TextExample:
    """The path of an image, or the path and a text with a tab between."""
    image, _, words = (part.strip() for part in line.partition('\t'))
    example = TextExample(name, image, words or None, None, where, Names('image', 'text'))
    _picture(example, None)
    return example


# ---------------------------------------------------------------------------------------------
# Token rows


def features(tokenizer: Tokenizer, examples: Sequence[TextExample], task: Task) -> Rows:
    """Rows of the texts alone, [CLS] text [SEP], and the images as 'pixels'."""
    pixels, notes = images_of(examples, task)
    texts = [one._replace(text_a=one.text_b or '', text_b=None) for one in examples]
    rows = text.class_features(tokenizer, texts, task)
    return dataclasses.replace(rows, numbers={**rows.numbers, PIXELS: pixels}, notes=notes)


def images_of(examples: Sequence[TextExample], task: Task) -> tuple[np.ndarray, list[str]]:
    """The images as uint8 [examples, size, size, 3], and what people must know about them.

    Raises:
        ConfigError: the model reads no images.
    """
    size = task.image_size
    if size is None:
        raise ConfigError(
            f'config.task.name is {task.name!r}, but the model reads no images: start from a '
            'checkpoint that was trained with them, or type --config.model.image_size=32, for '
            'example, to learn to read them from these rows alone'
        )
    pixels = np.zeros((len(examples), size, size, 3), np.uint8)
    others = 0
    for number, example in enumerate(examples):
        picture = _picture(example, size)
        pixels[number] = picture.pixels
        others += 'resized_image' in picture.changes
    share = f'{others:,} of {len(examples):,}'
    note = f'images of another size than {size} x {size}: {share} (scaled to fit, and put on white)'
    return pixels, [note] if others else []


IMAGE_CLASSIFICATION = text.CLASSIFICATION._replace(
    own_task='image_text',
    own_spec=TaskSpec(
        TaskFiles(columns=Columns('image', 'text', 'label')), metrics=('accuracy', 'macro_f1')
    ),
    styles=text.STYLES,
    read=read,
    from_line=from_line,
    content=lambda example: (example.text_a, example.text_b),
    features=features,
    foreign_fields=lambda labels: {},
)
