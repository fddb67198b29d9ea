"""Small corpora of random text."""

import numpy as np

from electra_jax.config.recipe import recipe
from electra_jax.config.resolve import resolve
from electra_jax.corpus import job as corpus
from electra_jax.data import records

WORDS = 'the quick brown fox jumps over a lazy dog while seven wizards box with jugs of ink'.split()


def write_shard(path, rows):
    writer = records.ShardWriter(path)
    writer.write(rows)
    return writer.close()


def write_text(path, documents, seed):
    random = np.random.default_rng(seed)
    lines = [
        ' '.join(random.choice(WORDS, random.integers(3, 30))) + '.\n\n' for _ in range(documents)
    ]
    path.write_text(''.join(lines))


def build(folder, name, documents=300, seed=0, **data):
    text = folder / f'{name}.txt'
    write_text(text, documents, seed)
    vocab = folder / 'vocab.txt'
    vocab.write_text('\n'.join(['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', '.', *WORDS]) + '\n')
    settings = {
        'path': str(folder / name),
        'source': f'text:{text}',
        'row_length': 16,
        'layout': 'packed',
        'holdout': 0.1,
        'workers': 1,
        'tokenizer': {'path': str(vocab)},
        **data,
    }
    return corpus.build_corpus(resolve(recipe({'data': settings}), 'cpu').data)
