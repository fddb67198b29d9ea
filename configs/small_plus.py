"""The released "ELECTRA-small++": small with a generator of full size, rows of 512 tokens and 4 M
steps. Its weights score 77.4 on the GLUE leaderboard (electra, README).
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'total_steps': 4_000_000,
            'model': {'size': 'small_plus'},
            'data': {'path': 'corpora/wikipedia_512', 'row_length': 512},
        },
        base='small.py',
    )
