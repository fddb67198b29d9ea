"""Counts of what cannot be used, and the sentences about them."""

from electra_jax.core.complaints import REASONS, Complaints, counted


def test_kinds_of_one_reason_are_one_sentence():
    complaints = Complaints('data.on_bad_text')
    for name in ['a.pdf', 'b.csv', 'c.csv']:
        complaints.count(f'left_out:.{name[2:]}', name)
    complaints.add({'left_out:.csv': (2000, 'd.csv'), 'nul': (1, 'e')})
    assert complaints.lines() == [
        '2,003 files of folders or archives were left out: 2,002 .csv, 1 .pdf: first in b.csv',
        '1 document held NUL characters (removed): first in e',
    ]


def test_one_of_anything_is_in_the_singular():
    for sentence in REASONS.values():
        assert sentence.startswith('{n} ')
        words = counted(1, sentence.removeprefix('{n} ')).partition('(')[0].split()
        assert not {'were', 'have', 'look'} & set(words)
        assert not {'files', 'lines', 'records', 'documents', 'sentences'} & set(words[:4])
