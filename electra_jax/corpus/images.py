"""Texts about images: data.source='images:FOLDER/index.jsonl', a JSON line for each.

A line is ``{"image": "a.png", "text": "..."}``; the image's path is relative to the file that names
it, which may be read as any JSON lines may (docs/data.md).
"""

import dataclasses
import os
from collections.abc import Iterator

from electra_jax.core import pictures
from electra_jax.core.complaints import Complaints
from electra_jax.corpus import documents, files

FIELD = 'image'  # of a line, next to that of its text
# An image takes far more memory than its line: a piece of work has fewer lines by so much.
_AS_TEXT = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImagesPart(files.FilePart):
    """A range of an index."""

    def block(
        self, data: bytes, origin: documents.Origin, complaints: Complaints
    ) -> documents.Block:
        """Texts that know their images, which are not read yet."""
        return documents.Block(len(data) * _AS_TEXT, self._captioned(data, origin, complaints))

    def _captioned(
        self, data: bytes, origin: documents.Origin, complaints: Complaints
    ) -> Iterator[list[str]]:
        for row in documents.json_rows(data, origin, (self.field, FIELD), complaints):
            text, image = row.texts
            if lines := documents.clean_lines(text, row.where, complaints):
                path = os.path.join(os.path.dirname(self.name), image)
                yield documents.Captioned(lines, path, row.where)


def parts(entry: documents.Entry, piece_bytes: int, complaints: Complaints) -> Iterator[ImagesPart]:
    """Parts of the indexes that an entry names."""
    pictures.check_installed()
    as_json = dataclasses.replace(entry, kind=documents.JSONL)
    for part in files.parts(as_json, max(piece_bytes // _AS_TEXT, 1), complaints):
        yield ImagesPart(**{**vars(part), 'text_bytes': part.text_bytes * _AS_TEXT})


def loaded(
    captioned: Iterator[list[str]], size: int, complaints: Complaints
) -> Iterator[list[str]]:
    """The texts, with images of `size` x `size` pixels; those without a usable one are left out."""
    for document in captioned:
        assert isinstance(document, documents.Captioned)
        try:
            picture = pictures.read(document.image, size)
        except pictures.UnusableImageError as error:
            complaints.refuse('bad_image', document.where, str(error))
            continue
        for change in picture.changes:
            complaints.count(change, document.where)
        document.pixels = picture.pixels
        yield document
