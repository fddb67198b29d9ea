"""Input that is not as it should be: counted and told once at the end, or refused."""

import dataclasses
import hashlib

from electra_jax.core import errors

ON_BAD_TEXT = ('error', 'skip')

# Kind -> how its line at the end of a build reads; {n} is the count.
KINDS = {
    'not_utf8': '{n} documents held bytes that are not UTF-8 (replaced by U+FFFD)',
    'nul': '{n} documents held NUL characters (removed)',
    'empty_document': '{n} documents held no text (left out)',
    'empty_file': '{n} files were empty',
    'bad_json': '{n} lines were not the JSON that was asked for (skipped)',
    'other_kind': '{n} compressed files were of another kind by their names (left out)',
    'torn_file': '{n} compressed files were damaged (read up to there)',
}


@dataclasses.dataclass
class BadText:
    """Counts of bad input by kind, with the place of the first of each.

    Attributes:
      found: kind -> (how many, where the first is).
      skip: whether unreadable input is passed over (data.on_bad_text) or refused.
    """

    found: dict[str, tuple[int, str]] = dataclasses.field(default_factory=dict)
    skip: bool = False

    def count(self, kind: str, where: str) -> None:
        """Notes one more of `kind`, which has been mended or has done no harm."""
        number, first = self.found.get(kind, (0, where))
        self.found[kind] = (number + 1, first)

    def refuse(self, kind: str, where: str, problem: str) -> None:
        """Notes input that cannot be used, or stops there.

        Raises:
          errors.DataError: unless data.on_bad_text is 'skip'.
        """
        if not self.skip:
            raise errors.DataError(
                f'{where}: {problem}; mend it, or pass over such input with '
                '--config.data.on_bad_text=skip'
            )
        self.count(kind, where)

    def add(self, other: dict[str, tuple[int, str]]) -> None:
        """Adds the counts of a later part of the input."""
        for kind, (number, where) in other.items():
            mine, first = self.found.get(kind, (0, where))
            self.found[kind] = (mine + number, first)

    def lines(self) -> list[str]:
        """One sentence for each kind that was met."""
        return [
            f'{KINDS[kind].format(n=f"{number:,}")}: first in {where}'
            for kind, (number, where) in sorted(self.found.items())
        ]


def digest(data: bytes, seed: int = 0) -> bytes:
    """16 bytes that stand for `data`; another `seed` gives unrelated ones."""
    return hashlib.blake2b(data, digest_size=16, key=str(seed).encode()).digest()


def check_policy(on_bad_text: str) -> None:
    """Refuses a value of data.on_bad_text that does not exist."""
    if on_bad_text not in ON_BAD_TEXT:
        raise errors.unknown('data.on_bad_text', on_bad_text, ON_BAD_TEXT)
