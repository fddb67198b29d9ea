"""TFRecord files and the tf.train.Example messages in them, read without TensorFlow.

A record is the length of its data (little-endian uint64), a checksum of these 8 bytes, the data,
and a checksum of the data. A checksum is a masked CRC-32C (tensorflow/core/lib/io/record_writer.h).
"""

import functools
import struct
from collections.abc import Iterable, Iterator
from typing import Any

from electra_jax.core.compressed import TornError

MAX_RECORD_BYTES = 256_000_000  # a longer one is no document but an accident, or an attack

_HEADER = struct.Struct('<QI')
_CHECK_BYTES = 4
# The messages of tensorflow/core/example/example.proto, as far as text needs them. On the wire a
# map is a repeated message of keys and values.
_MESSAGES = """
    name: 'example.proto' package: 'electra_jax'
    message_type { name: 'Example'
      field { name: 'features' number: 1 label: LABEL_OPTIONAL type_name: 'Features' } }
    message_type { name: 'Features'
      field { name: 'feature' number: 1 label: LABEL_REPEATED type_name: 'Entry' } }
    message_type { name: 'Entry'
      field { name: 'key' number: 1 label: LABEL_OPTIONAL type: TYPE_BYTES }
      field { name: 'value' number: 2 label: LABEL_OPTIONAL type_name: 'Feature' } }
    message_type { name: 'Feature'
      field { name: 'bytes_list' number: 1 label: LABEL_OPTIONAL type_name: 'BytesList' } }
    message_type { name: 'BytesList'
      field { name: 'value' number: 1 label: LABEL_REPEATED type: TYPE_BYTES } }
"""


def records(chunks: Iterable[bytes]) -> Iterator[bytes | None]:
    """The data of each record of a file that is given in chunks; None: it is damaged.

    Raises:
        TornError: the file ends inside a record, or a length is damaged.
    """
    buffer, offset = bytearray(), 0
    for chunk in chunks:
        buffer += chunk
        start = 0
        while len(buffer) - start >= _HEADER.size:
            length, check = _HEADER.unpack_from(buffer, start)
            if check != _checksum(bytes(buffer[start : start + 8])) or length > MAX_RECORD_BYTES:
                raise TornError(f'it is damaged: at byte {offset + start} there is no TFRecord')
            first = start + _HEADER.size
            stop = first + length
            if stop + _CHECK_BYTES > len(buffer):
                break
            data = bytes(buffer[first:stop])
            (check,) = struct.unpack_from('<I', buffer, stop)
            yield data if check == _checksum(data) else None
            start = stop + _CHECK_BYTES
        del buffer[:start]
        offset += start
    if buffer:
        raise TornError(f'it is torn: it ends inside the record at byte {offset}')


def _checksum(data: bytes) -> int:
    import google_crc32c  # here, because most text is in other files

    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def text(data: bytes | None, field: str) -> bytes:
    """The one value of a feature of a tf.train.Example.

    Raises:
        ValueError: it is damaged (None) or no Example, or the feature is not one text.
    """
    if data is None:
        raise ValueError('its checksum is not that of its data')
    example, decode_error = _example()
    try:
        features = example.FromString(data).features.feature
    except decode_error as error:
        raise ValueError(f'it is no tf.train.Example ({error})') from error
    key = field.encode()
    values = next((one.value.bytes_list.value for one in features if one.key == key), None)
    if values is None:
        has = ', '.join(sorted(one.key.decode(errors='replace') for one in features)) or 'none'
        raise ValueError(f'there is no feature {field!r}; it has {has}')
    if len(values) != 1:
        raise ValueError(f'feature {field!r} is not one text, but has {len(values)} of them')
    return values[0]


@functools.cache
def _example() -> tuple[Any, type[Exception]]:
    """The class of the message, and the error of bytes that are none."""
    from google.protobuf import (
        descriptor_pb2,
        descriptor_pool,
        message,
        message_factory,
        text_format,
    )

    file = text_format.Parse(_MESSAGES, descriptor_pb2.FileDescriptorProto())
    pool = descriptor_pool.DescriptorPool()  # of its own: TensorFlow has messages of these names
    pool.Add(file)
    found = pool.FindMessageTypeByName('electra_jax.Example')
    return message_factory.GetMessageClass(found), message.DecodeError
