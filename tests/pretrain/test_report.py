"""What pre-training prints at its start and its end."""

import dataclasses
import pathlib

from electra_jax.data import manifest
from electra_jax.pretrain import report
from electra_jax.pretrain.text import Text
from tests.support.configs import tiny_config
from tests.support.corpora import build


def test_a_loss_that_will_rise_is_announced():
    settings = tiny_config().objective
    assert report.rising(settings) == []
    falling = dataclasses.replace(settings, temperature=2.0, temperature_end=1.0)
    (line,) = report.rising(falling)
    assert 'falls from 2 to 1' in line and 'will rise' in line
    (line,) = report.rising(dataclasses.replace(settings, mask_rate_end=0.4))
    assert 'mask rate rises from 0.15 to 0.4' in line
    colder = dataclasses.replace(settings, temperature=1.0, temperature_end=2.0, mask_rate_end=0.1)
    assert report.rising(colder) == []


def with_counts(corpus: manifest.Corpus, **counts: int) -> manifest.Corpus:
    return dataclasses.replace(corpus, counts={**corpus.counts, **counts})


def test_what_is_held_out_and_not_read_is_noted(tmp_path: pathlib.Path):
    corpus = build(tmp_path, 'some', documents=1200)
    assert manifest.warnings(corpus) == []
    (line,) = manifest.warnings(with_counts(corpus, documents=5, text_bytes=15_000_000))
    assert 'is made of 5 documents of 3.0 MB' in line
    none = dataclasses.replace(corpus, shards={**corpus.shards, 'validation': ()})
    (line,) = manifest.warnings(none)
    assert 'nothing is held out' in line and 'config.data.validation_source' in line
    config = tiny_config(data={'path': 'some', 'validation_source': 'text:dev.txt'})
    text = Text([corpus], [1.0], corpus.tokenizer())
    (line,) = report.not_read(config, text, ['data.validation_source'])
    assert 'its held-out rows of no other text' in line and '(text:dev.txt) is not read' in line
    assert report.not_read(config, text, []) == []
