"""Text inside compressed files by its place, for workers that are not handed the text itself."""

import dataclasses
import pathlib
from collections.abc import Iterator

from electra_jax.core import compressed, errors
from electra_jax.core.complaints import Complaints
from electra_jax.corpus import documents, sources


@dataclasses.dataclass(frozen=True)
class PackedSpan:
    """A block of a compressed file by its place: whoever reads it unpacks the file up to there.

    Attributes:
      block: as it was cut, but without its text.
      size: bytes of its text.
      digest: `documents.digest` of them, hex.
    """

    block: documents.Block
    size: int
    digest: str

    @property
    def weight(self) -> float:
        """See `documents.Part`."""
        return self.block.weight

    @property
    def text_bytes(self) -> int:
        """See `documents.Part`."""
        return self.size

    @property
    def read_bytes(self) -> int:
        """See `documents.Part`."""
        return self.block.read_bytes

    def identity(self) -> list[object]:
        """See `documents.Part`; that of the block with its text."""
        block = self.block
        return [block.origin, block.offset, self.size, self.digest, block.weight, block.field]

    def documents(self, complaints: Complaints) -> Iterator[list[str]]:
        """See `documents.Part`."""
        path = pathlib.Path(self.block.origin)
        data = _unpacked_range(path, self.block.offset, self.size)
        if documents.digest(data).hex() != self.digest:
            raise errors.DataError(f'{path} has changed while it was being read')
        yield from dataclasses.replace(self.block, data=data).documents(complaints)


def without_text(piece: sources.Piece) -> sources.Piece:
    """The same piece with places in files where it held text of compressed ones."""

    def light(part: documents.Part) -> documents.Part:
        if not isinstance(part, documents.Block) or not pathlib.Path(part.origin).is_file():
            return part
        digest = documents.digest(part.data).hex()
        return PackedSpan(dataclasses.replace(part, data=b''), len(part.data), digest)

    return dataclasses.replace(piece, parts=tuple(map(light, piece.parts)))


def _unpacked_range(path: pathlib.Path, start: int, size: int) -> bytes:
    """So many bytes of the text of a compressed file; fewer where it ends or is torn."""
    found, at = bytearray(), 0
    try:
        for chunk, _ in compressed.stream(path):
            found += chunk[max(start - at, 0) :]
            at += len(chunk)
            if len(found) >= size:
                break
    except compressed.TornError:
        pass  # told when the file was cut
    except OSError as error:
        raise errors.DataError(f'cannot read {path}: {error.strerror}') from error
    return bytes(found[:size])
