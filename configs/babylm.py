"""A small ELECTRA on BabyLM's 10 million words of text, read ten times at most, with a checkpoint
at each of the words that its rules ask for. What it reaches, and in how long, is not measured yet.

The model and the settings of learning are those of `laptop.py`, whose 54,000 steps took 77 minutes
of one core with AdamW, and take about a fifth longer with Muon: 100 million words are about three
times as many. The first two thirds train the generator alone, so the checkpoints until 60 million
words are masked language models. docs/how-to/babylm.md has every command, from the text to the
scores.
"""

from electra_jax.config.recipe import recipe

# Millions of words read: each of the first ten, and each ten after them.
_MILLIONS = (*range(1, 10), *range(10, 101, 10))


def get_config():
    return recipe(
        {
            'words': 100e6,
            'max_exposures': 10.0,
            'data': {'path': 'corpora/babylm', 'holdout': 0.01},
            'checkpoint': {'keep_at_words': ','.join(f'{number}e6' for number in _MILLIONS)},
            # Its curves are of other text.
            'log': {'reference': None},
        },
        base='laptop.py',
    )
