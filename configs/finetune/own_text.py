"""Your own classes of text: train.csv and dev.csv (or .tsv, .jsonl) in --config.data.path, with a
text and a label in each row; how good it gets depends on your data. Pairs of texts have a text_b
column, too: --config.task.columns.text_b=text_b.
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'task': {'name': 'text', 'columns': {'text_a': 'text', 'label': 'label'}},
        },
        base='task.py',
    )
