"""A split of a task as one record, whatever holds it: a file or a TensorFlow dataset."""

import dataclasses
import pathlib
from typing import Any

from electra_jax.core.complaints import Complaints
from electra_jax.finetune.files import lines, tables, tfds
from electra_jax.finetune.files.locate import Location, TaskFiles
from electra_jax.finetune.files.tables import Columns, Row, Rows, merged


@dataclasses.dataclass(frozen=True)
class Source:
    """A split of a task, ready to be read."""

    files: TaskFiles  # of the task
    location: Location
    columns: Columns
    complaints: Complaints  # rows that cannot be used are refused or counted here
    labelled: bool | None  # whether examples must have labels; None: labels are not looked at
    ending: str  # decides how a file is read; '': it is a dataset
    split: str = ''  # 'train', 'dev', ...; '': new text

    @property
    def where(self) -> str:
        """The file or dataset, for messages."""
        return str(self.path or f'{self.location.dataset}:{self.location.split}')

    @property
    def path(self) -> pathlib.Path | None:
        """The file; None: it is a dataset."""
        return self.location.path

    def called(self) -> dict[str, Any]:
        """Field -> column, where a table calls its columns as one of `files.others` has them."""
        if self.path is None or not self.files.others or self.columns.header is False:
            return {}
        names = {*tables.first_names(self.path, self.columns.separator, self.ending)}
        found: dict[str, Any] = {}
        for other in self.files.others:
            usual = {field: getattr(self.files.columns, field) for field in other}
            is_usual = all(getattr(self.columns, field) == name for field, name in usual.items())
            if is_usual and not names & {*usual.values()} and names >= {*other.values()}:
                found |= other
        return found

    def rows(self) -> Rows:
        """Rows of a table, or of a dataset with the classes named as in the official files."""
        if self.path is None:
            rows = tfds.read(self.location.dataset, self.location.split, self.columns)
            return rows._replace(rows=map(self._with_our_label, rows.rows))
        known_gaps = self.labelled is not None and self.files.known_gaps
        return tables.read(self.path, self.ending, self.columns, self.complaints, known_gaps)

    def _with_our_label(self, row: Row) -> Row:
        dataset, key = self.files.dataset, self.columns.label
        if dataset is None or not dataset.labels or key not in row.values:
            return row
        label = row.values[key]
        return row._replace(values={**row.values, key: dataset.labels.get(label, label)})


def open_source(
    files: TaskFiles,
    location: Location,
    split: str,
    given: Columns,
    complaints: Complaints,
    labelled: bool,
) -> Source:
    """A split with its columns: the usual ones, but for those that are given."""
    usual, ending = files.split_columns.get(split, files.columns), ''
    if location.path is not None:
        ending = lines.ending_of(location.path)
    elif files.dataset is not None:
        usual = files.dataset.columns
    return Source(files, location, merged(usual, given), complaints, labelled, ending, split)
