"""A corpus of texts with images, from the index to batches."""

import numpy as np
import pytest

from electra_jax.config.recipe import recipe
from electra_jax.config.resolve import resolve
from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import ConfigError, DataError
from electra_jax.corpus import documents, images, job, sources
from electra_jax.data import manifest, pipeline
from tests.support.corpora import WORDS
from tests.support.image_files import COLOURS, full, write_colours, write_image, write_index


def settings(folder, **changes):
    vocab = folder / 'vocab.txt'
    words = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *COLOURS, *WORDS]
    vocab.write_text('\n'.join(words) + '\n')
    data = {
        'path': str(folder / 'corpus'),
        'source': f'images:{folder}/index.jsonl',
        'row_length': 8,
        'holdout': 0.2,
        'workers': 1,
        'tokenizer': {'path': str(vocab)},
        **changes,
    }
    return resolve(recipe({'data': data, 'model': {'image_size': 8, 'image_patch': 4}}), 'cpu').data


@pytest.fixture
def folder(tmp_path):
    """Each text begins with the colour of its image; some are longer than a row."""
    write_colours(tmp_path)
    random = np.random.default_rng(0)
    rows = []
    for number in range(60):
        colour = list(COLOURS)[number % 4]
        words = random.choice(WORDS, random.integers(1, 15))
        rows.append({'image': f'{colour}.png', 'text': ' '.join([colour, *words])})
    write_index(tmp_path / 'index.jsonl', rows)
    return tmp_path


def batches_of(corpora, split='train', images=True):
    rows = pipeline.Rows(corpora, split, images)
    return rows.batch([(0, row) for row in range(rows.lengths[0])])


def test_each_row_has_the_image_of_its_text(folder):
    corpus = job.build_corpus(settings(folder))
    assert manifest.load_corpus(corpus.path, 'full').image_size == 8
    colours = {5 + number: full(colour) for number, colour in enumerate(COLOURS)}
    seen = dict.fromkeys(manifest.SPLITS, 0)
    for split in manifest.SPLITS:
        batch, last = batches_of([corpus], split), None
        for tokens, pixels in zip(batch['tokens'], batch['pixels'], strict=True):
            # A text goes on in the next rows, in sight of the same image.
            last = colours.get(int(tokens[1]), last)
            np.testing.assert_array_equal(pixels, last)
            seen[split] += 1
        assert (batch['documents'][:, 0] == 1).all()
        assert batch['documents'].max() == 1
    assert sum(seen.values()) > 60 and min(seen.values())
    assert corpus.counts['documents'] == 60
    assert corpus.counts['dropped_tokens'] == 0


def test_a_huge_text_keeps_its_image(folder):
    colours = {'red': 70_000, 'blue': 10, 'green': 10}  # words; more than is divided otherwise
    rows = [{'image': f'{x}.png', 'text': f'{x} ' * count} for x, count in colours.items()]
    write_index(folder / 'index.jsonl', rows)
    corpus = job.build_corpus(settings(folder, holdout=0.05))
    assert corpus.counts['divided_documents'] == 0
    batch, ids = batches_of([corpus]), {x: 5 + i for i, x in enumerate(COLOURS)}
    for colour in colours:
        of_colour = batch['tokens'][:, 1] == ids[colour]
        assert (batch['pixels'][of_colour] == COLOURS[colour]).all()


def test_equal_texts_are_on_one_side_and_weights_copy_the_image(folder):
    corpus = job.build_corpus(settings(folder, source=f'images:{folder}/index.jsonl=2'))
    batch = batches_of([corpus])
    pairs = zip(batch['tokens'], batch['pixels'], strict=True)
    joined = [tokens.tobytes() + pixels.tobytes() for tokens, pixels in pairs]
    assert {joined.count(one) % 2 for one in joined} == {0}


def test_batches_are_the_same_from_any_step(folder):
    corpus = job.build_corpus(settings(folder))
    rows = pipeline.Rows([corpus], 'train', images=True)
    share = pipeline.HostRows(4, 0, 1)
    whole = pipeline.train_batches(rows, [1.0], share, 0, 2)
    for _ in range(3):
        next(whole)
    again = pipeline.train_batches(rows, [1.0], share, 0, 2)
    again.set_state(whole.get_state())
    expected, found = next(whole), next(again)
    np.testing.assert_array_equal(found['pixels'], expected['pixels'])
    np.testing.assert_array_equal(found['tokens'], expected['tokens'])


def test_rows_of_padding_have_a_blank_image_and_text_alone_has_none(folder):
    corpus = job.build_corpus(settings(folder))
    padding = pipeline.Rows([corpus], 'train', images=True).batch([pipeline.PADDING])
    assert not padding['pixels'].any() and not padding['documents'].any()
    assert 'pixels' not in batches_of([corpus], images=False)


def test_what_was_done_to_images_is_counted(folder):
    write_image(folder / 'red.png', 'red', (16, 8))
    corpus = job.build_corpus(settings(folder))
    number, where = corpus.bad_text['resized_image']
    assert number == 15 and where.endswith('index.jsonl, line 1')


BAD = {
    'missing': ({'image': 'none.png', 'text': 'fox'}, 'there is no file', 'bad_image'),
    'no_image': ({'image': 'vocab.txt', 'text': 'fox'}, 'is no PNG or JPEG', 'bad_image'),
    'no_field': ({'text': 'fox'}, "there is no field 'image'", 'bad_json'),
    'a_number': ({'image': 3, 'text': 'fox'}, "field 'image' is a int", 'bad_json'),
}


@pytest.mark.parametrize('case', BAD)
def test_an_image_of_no_use_is_named_by_its_line_or_counted(folder, case):
    row, problem, reason = BAD[case]
    index = folder / 'index.jsonl'
    lines = index.read_text().splitlines(keepends=True)
    write_index(index, [row])
    index.write_text(lines[0] + index.read_text() + ''.join(lines[1:]))
    with pytest.raises(DataError, match=rf'index\.jsonl, line 2: .*{problem}'):
        job.build_corpus(settings(folder))
    corpus = job.build_corpus(settings(folder, on_bad_text='skip'))
    assert corpus.counts['documents'] == 60
    number, where = corpus.bad_text[reason]
    assert number == 1 and 'line 2' in where
    assert Complaints('', counts=corpus.bad_text).lines()


def test_lines_of_an_index_are_not_counted_for_each_of_its_parts(folder, monkeypatch):
    counted = []
    monkeypatch.setattr(documents, 'line_number', lambda origin: counted.append(origin) or 1)
    (entry,) = sources.parse_source(f'images:{folder}/index.jsonl')
    complaints = Complaints('data.on_bad_text', 'error')
    parts = list(images.parts(entry, 64 * 500, complaints))
    blocks = [block for part in parts for block in part.open(complaints)]
    texts = [text for block in blocks for text in block.documents]
    assert len(parts) > 2 and len(texts) == 60 and not counted
    assert texts[0].where.endswith('index.jsonl, line 1') and ' at byte ' in texts[-1].where


def test_a_corpus_of_other_images_is_refused(folder, tmp_path):
    corpus = job.build_corpus(settings(folder))
    data = settings(folder)
    manifest.check_corpus(corpus, data)
    for size in (16, 4):
        other = settings(folder, image_size=None)
        object.__setattr__(other, 'image_size', size)
        with pytest.raises(ConfigError, match=f'image_size is {size}, .*has images of 8 pixels'):
            manifest.check_corpus(corpus, other)
    object.__setattr__(other, 'image_size', None)  # the text alone is read
    manifest.check_corpus(corpus, other)


@pytest.mark.parametrize(
    ('changes', 'problem'),
    [
        ({'source': 'text:a.txt'}, 'image_size is 8, but text:a.txt .* has no images'),
        ({'validation_source': 'text:a.txt'}, 'has no images'),
    ],
)
def test_text_without_images_is_refused_where_the_model_reads_them(folder, changes, problem):
    (folder / 'a.txt').write_text('a fox\n')
    with pytest.raises(ConfigError, match=problem):
        job.build_corpus(settings(folder, **changes))
