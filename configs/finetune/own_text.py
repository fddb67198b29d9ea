"""Your own classes of text: train.csv and dev.csv (or .tsv, .jsonl) in --config.data.path, with a
text and a label in each row; how good it gets depends on your data. Settings suit the checkpoint
and the number of rows; the run prints them. Pairs of texts are text_a and text_b in place of text;
other names are typed, --config.task.columns.text_b=NAME. Texts with any number of classes, or with
a score, are --config.task.name=text_multi_label or text_regression.
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'task': {'name': 'text', 'columns': {'text_a': 'text', 'label': 'label'}},
        },
        base='task.py',
    )
