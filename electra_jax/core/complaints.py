"""Lines and rows that cannot be used: refused with their position, or left out and counted."""

import dataclasses
import re
from collections.abc import Mapping

from electra_jax.core.errors import DataError

# Reason -> its sentence in the summary; {n} is the count. What is counted of several kinds has the
# reason 'REASON:KIND'.
REASONS = {
    # Text of a corpus.
    'not_utf8': '{n} documents held bytes that are not UTF-8 (replaced by U+FFFD); if a file '
    'is in another encoding: iconv -f ENCODING -t UTF-8 FILE > NEW',
    'half_character': '{n} documents held half of a UTF-16 character (replaced by U+FFFD): the '
    'program that wrote them cut texts in the middle of one',
    'entities': '{n} texts hold characters written as in HTML, such as &amp; (kept so); Python '
    'turns them into characters: html.unescape(TEXT)',
    'nul': '{n} documents held NUL characters (removed)',
    'empty_document': '{n} documents held no text (left out)',
    'empty_file': '{n} files were empty',
    'not_packed': '{n} files named like compressed ones were read as plain text',
    'left_out': '{n} files of folders or archives were left out',
    'unreadable_file': '{n} files were not text (left out)',
    'guessed_encoding': '{n} files without a byte order mark were read as UTF-16 or UTF-32, as '
    'the bytes suggest',
    'json_as_text': '{n} files with JSON at the beginning were read as plain text (the source '
    'jsonl:PATH#FIELD reads the text in a field)',
    'table_as_text': '{n} files named like tables were read as plain text, with what separates '
    'the cells; JSON lines are made of one by: '
    'python -c "import csv,json,sys; [print(json.dumps(x)) for x in csv.DictReader(sys.stdin)]" '
    "< FILE > NEW.jsonl (of a .tsv: csv.DictReader(sys.stdin,delimiter='\\t')), and read as "
    '--config.data.source=jsonl:NEW.jsonl#COLUMN',
    'markup_as_text': '{n} files with the name of HTML or XML were read as plain text, with their '
    'tags; the text alone comes out of: pandoc -f html -t plain FILE -o NEW.txt',
    # Both.
    'bad_image': '{n} images could not be used (left out)',
    'resized_image': '{n} images were of another size (scaled to fit, and put on white)',
    'transparent_image': '{n} images had transparent parts (put on white)',
    'first_frame': '{n} images had several frames (the first was used)',
    'bad_json': '{n} lines were not the JSON that was asked for (left out)',
    'torn_file': '{n} files were damaged (read up to the damage)',
    'bad_record': '{n} records were damaged, or without the text asked for (left out)',
    # Rows of a task.
    'repeated_header': '{n} rows were the header once more (left out)',
    'not_text': '{n} rows held bytes or characters that are not text (left out)',
    'wrong_form': '{n} lines looked like another format (left out)',
    'bad_width': '{n} rows had too few or too many cells (left out)',
    'missing_field': '{n} rows had no field of the name asked for (left out)',
    'empty_text': '{n} rows held an empty text (left out)',
    'unknown_label': '{n} rows had no label, or an unknown one (left out)',
    'bad_score': '{n} rows had a score that is no number, or out of range (left out)',
    'bad_tags': '{n} sentences had tags that do not fit their words or their scheme (left out)',
    'bad_answer': '{n} questions had an answer that their text does not hold (left out)',
    'bad_question': '{n} questions were incomplete (left out)',
    'first_answer': '{n} answers have no position and occur several times (the first was used)',
    'double_id': '{n} rows had the id of an earlier one (all were used)',
    'moved_answer': '{n} answers were not at their given position (found elsewhere in their text)',
    'no_token': '{n} texts held nothing that becomes a token (answered as empty texts)',
    'mask_as_text': '{n} texts hold [MASK], which is read as any other text (fill_mask alone fills '
    'it in)',
    'no_mask': '{n} texts held no [MASK] (left out)',
    'stray_return': '{n} lines held carriage returns, which end no line where most end otherwise',
    'quoted': '{n} rows have cells in quotation marks, which are part of their text '
    "(if they enclose it alone: name the file .csv, and type --config.task.separator='\\t')",
    'cut': '{n} rows have texts longer than data.row_length (cut)',
    'cut_question': '{n} rows have a question longer than task.question_length (cut)',
    'cut_target': '{n} targets have more pieces than task.decoder.target_length (cut)',
    'long_target': '{n} rows have targets with more pieces than task.decoder.target_length '
    '(left out)',
    'known_gap': '{n} rows are incomplete in the official file itself (left out)',
}
# Verbs of the sentences; of one that has several the first is the number's.
_SINGULAR = {
    'were': 'was',
    'are': 'is',
    'have': 'has',
    'look': 'looks',
    'looked': 'looked',
    'had': 'had',
    'held': 'held',
    'hold': 'holds',
}
_VERB = re.compile(rf'\b({"|".join(_SINGULAR)})\b')


@dataclasses.dataclass
class Complaints:
    """Counts of lines and rows that cannot be used, by a key of REASONS.

    `where` is a file and its line, byte or row.
    """

    setting: str  # holds the policy, for messages: 'data.on_bad_text' or 'data.on_bad_row'
    policy: str = 'error'  # what cannot be used is an error; 'skip': it is left out and counted
    # Reason -> (how many, where the first one is).
    counts: dict[str, tuple[int, str]] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)  # about the input as a whole

    def count(self, reason: str, where: str) -> None:
        """Counts something that has been repaired or does no harm."""
        self.add({reason: (1, where)})

    def refuse(self, reason: str, where: str, problem: str) -> None:
        """Counts something that is left out, or raises DataError where the policy is 'error'."""
        if self.policy == 'error':
            raise DataError(
                f'{where}: {problem}; fix it, or have such input left out and counted: '
                f'--config.{self.setting}=skip'
            )
        self.count(reason, f'{where}: {problem}')

    def add(self, later: Mapping[str, tuple[int, str]]) -> None:
        """Adds the `counts` of input that comes later."""
        for reason, (number, where) in later.items():
            before, first = self.counts.get(reason, (0, where))
            self.counts[reason] = (before + number, first)

    def note(self, text: str | None) -> None:
        """Keeps a sentence about the input as a whole, once, if there is one."""
        if text is not None and text not in self.notes:
            self.notes.append(text)

    def lines(self) -> list[str]:
        """The notes, and one sentence for each reason that was met."""
        kinds: dict[str, list[tuple[str, int, str]]] = {}
        for key, (number, where) in sorted(self.counts.items()):
            reason, _, kind = key.partition(':')
            kinds.setdefault(reason, []).append((kind, number, where))
        return [*self.notes, *(_line(reason, found) for reason, found in kinds.items())]


def _line(reason: str, found: list[tuple[str, int, str]]) -> str:
    sentence = counted(sum(number for _, number, _ in found), REASONS[reason].removeprefix('{n} '))
    most = sorted(found, key=lambda one: -one[1])
    listed = ', '.join(f'{number:,} {kind}' for kind, number, _ in most if kind)
    return f'{sentence}{listed and ": "}{listed}: first in {found[0][2]}'


def counted(number: int, words: str) -> str:
    """A number and what it counts, whose words are in the plural.

    >>> counted(1, 'lines between the rows were blank'), counted(1, 'processes'), counted(2, 'rows')
    ('1 line between the rows was blank', '1 process', '2 rows')
    """
    if number == 1:
        words = re.sub(r'(?<=ss)es\b|(?<=\w)s\b', '', words, count=1)
        words = _VERB.sub(lambda verb: _SINGULAR[verb[0]], words, count=1)
    return f'{number:,} {words}'
