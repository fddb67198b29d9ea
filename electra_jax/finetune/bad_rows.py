"""Rows of a task's files that are not as they should be: refused by name, or counted and told."""

import dataclasses

from electra_jax.core import errors

ON_BAD_ROW = ('error', 'skip')

# Kind -> how its line reads after a file has been read; {n} is the count.
KINDS = {
    'not_text': '{n} rows held bytes or characters that are not text (left out)',
    'bad_json': '{n} lines were not the JSON that was asked for (left out)',
    'bad_width': '{n} rows had too few or too many cells (left out)',
    'missing_field': '{n} rows had no field of the name asked for (left out)',
    'empty_text': '{n} rows held an empty text (left out)',
    'unknown_label': '{n} rows had no label, or an unknown one (left out)',
    'bad_score': '{n} rows had a score that is no number, or out of range (left out)',
    'bad_tags': '{n} sentences had tags that do not fit their words or their scheme (left out)',
    'bad_answer': '{n} questions had an answer that their text does not hold (left out)',
    'bad_question': '{n} questions were incomplete (left out)',
    'torn_file': '{n} compressed files were damaged (read up to there)',
    'moved_answer': '{n} answers were not at the place given (found elsewhere in their text)',
    'cut': '{n} rows have texts longer than data.row_length, or a question longer than '
    'task.question_length (cut)',
    'known_gap': '{n} rows are incomplete in the official file itself (left out)',
}


@dataclasses.dataclass
class BadRows:
    """Counts of bad rows by kind, with the place of the first of each.

    Attributes:
      skip: whether a row that cannot be used is left out and counted, or refused.
      found: kind -> (how many, where the first is and what is wrong with it).
    """

    skip: bool = False
    found: dict[str, tuple[int, str]] = dataclasses.field(default_factory=dict)

    def count(self, kind: str, where: str) -> None:
        """Notes one more of `kind`, which has been mended or does no harm."""
        number, first = self.found.get(kind, (0, where))
        self.found[kind] = (number + 1, first)

    def refuse(self, kind: str, where: str, problem: str) -> None:
        """Leaves out a row that cannot be used, or stops there.

        Raises:
          errors.DataError: unless bad rows are skipped.
        """
        if not self.skip:
            raise errors.DataError(
                f'{where}: {problem}; mend it, or leave such rows out and have them counted: '
                '--config.data.on_bad_row=skip'
            )
        self.count(kind, f'{where}: {problem}')

    def lines(self) -> list[str]:
        """One sentence for each kind that was met."""
        return [
            f'{KINDS[kind].format(n=f"{number:,}")}: first in {where}'
            for kind, (number, where) in sorted(self.found.items())
        ]


def policy(on_bad_row: str) -> BadRows:
    """A fresh count under a policy of ON_BAD_ROW.

    Raises:
      errors.ConfigError: there is no such policy.
    """
    if on_bad_row not in ON_BAD_ROW:
        raise errors.unknown('config.data.on_bad_row', on_bad_row, ON_BAD_ROW)
    return BadRows(skip=on_bad_row == 'skip')
