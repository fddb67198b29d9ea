"""Answers as HTML."""

import re

from electra_jax.demo import drawings


def plain(drawn):
    return re.sub('<[^>]*>', '', drawn)


def test_a_text_keeps_each_of_its_characters():
    drawn = drawings.heat('Anna  saw it!', [(0, 4), (6, 9), (10, 12)], [0.0, 1.0, 0.25])
    assert plain(drawn).startswith('Anna  saw it!')
    shares = re.findall(r'title="([\d.]+%)">([^<]*)</mark>', drawn)
    assert shares == [('0.0%', 'Anna'), ('100.0%', 'saw'), ('25.0%', 'it')]


def test_a_token_without_characters_is_left_out():
    assert drawings.heat('it', [(0, 0), (0, 2)], [1.0, 0.5]).count('<mark') == 1


def test_nothing_that_people_write_becomes_html():
    evil = '<script>alert("x")</script>'
    for drawn in (
        drawings.heat(evil, [(0, 8)], [0.5]),
        drawings.bars({evil: 0.5}),
        drawings.tags([evil, 'x'], [evil, 'O'], [0.5, 0.5]),
        drawings.sentence(evil),
        drawings.answer(evil),
        drawings.notes([evil]),
    ):
        assert '<script' not in drawn and '&lt;script' in drawn


def test_the_largest_share_stands_first():
    drawn = drawings.bars({'bad': 0.2, 'good': 0.8})
    assert plain(drawn) == 'good80.0%bad20.0%'


def test_tags_of_one_type_share_a_colour_and_none_has_no_mark():
    drawn = drawings.tags(
        ['Anna', 'Lee', 'saw', 'Rome'], ['B-PER', 'I-PER', 'O', 'B-LOC'], [0.9] * 4
    )
    colours = re.findall('border-color: (#[0-9a-f]{6})', drawn)
    assert len(colours) == 3 and colours[0] == colours[1] != colours[2]
    assert plain(drawn) == 'AnnaB-PER LeeI-PER saw RomeB-LOC'
