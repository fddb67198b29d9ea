"""Footers of Parquet files, read in a process of their own.

A damaged footer can end the process that reads it: a C++ exception that pyarrow does not catch.
This file is also the program of that process, which needs pyarrow alone.
"""

import atexit
import contextlib
import json
import pathlib
import struct
import subprocess
import sys
import threading
from typing import Any, NamedTuple

_HEADER = struct.Struct('<QQ')  # the size of the footer, and the number of the column
_PROGRAM = pathlib.Path(__file__)


class Column(NamedTuple):
    """A column in a row group, as the footer has it."""

    rows: int  # of the group
    values: int
    packed_bytes: int
    text_bytes: int


class DamagedError(Exception):
    """The footer cannot be read."""


class _Reader:
    """The process, which is started when it is needed, and again when a footer has ended it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def ask(self, footer: bytes, column: int) -> Any:
        """The answer of the process."""
        with self._lock:
            if self._process is None:
                # -P: the folder of this file is none of modules. Ctrl-C is for the parent alone.
                self._process = subprocess.Popen(
                    [sys.executable, '-P', str(_PROGRAM)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            process = self._process
            assert process.stdin is not None and process.stdout is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(_HEADER.pack(len(footer), column) + footer)
                process.stdin.flush()
            answer = process.stdout.readline()
            if not answer:
                self._close()
        return json.loads(answer or '"reading its footer ends the process"')

    def close(self) -> None:
        """Ends the process."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._process is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.communicate()
            self._process = None


_READER = _Reader()
atexit.register(_READER.close)


def columns(metadata: Any, number: int) -> list[Column]:
    """A column, by its number, in each row group of a pyarrow.parquet.FileMetaData.

    Raises:
        DamagedError: the footer is damaged, as the message explains.
    """
    import pyarrow

    sink = pyarrow.BufferOutputStream()
    metadata.write_metadata_file(sink)
    answer = _READER.ask(sink.getvalue().to_pybytes(), number)
    if isinstance(answer, str):
        raise DamagedError(answer)
    return [Column(*one) for one in answer]


def _answer(footer: bytes, number: int) -> Any:
    import pyarrow
    import pyarrow.parquet

    try:
        about = pyarrow.parquet.read_metadata(pyarrow.BufferReader(footer))
        groups = [about.row_group(i) for i in range(about.num_row_groups)]
        found = [(group.num_rows, group.column(number)) for group in groups]
        return [
            (rows, one.num_values, one.total_compressed_size, one.total_uncompressed_size)
            for rows, one in found
        ]
    except Exception as error:
        return str(error)


def _serve() -> None:
    """Answers footers from standard input with a line of JSON each."""
    while header := sys.stdin.buffer.read(_HEADER.size):
        size, number = _HEADER.unpack(header)
        sys.stdout.write(json.dumps(_answer(sys.stdin.buffer.read(size), number)) + '\n')
        sys.stdout.flush()


if __name__ == '__main__':
    _serve()
