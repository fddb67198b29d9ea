"""Any task as google-research/electra's code computes it, with its quirks: losses are added up over
a batch, and each rate has one power of the layer decay too many. Its README's figures (57.0 on CoLA
for ELECTRA-Small++, for example) come from this code.
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            # --config.task.name=mnli, ...
            'task': {'name': 'cola', 'sum_loss': True, 'defaults': 'reference'},
            'optimizer': {'layer_decay_off_by_one': True},
        },
        base='task.py',
    )
