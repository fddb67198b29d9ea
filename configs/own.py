"""A model for your own text, in the time that you have: --config.minutes=30 (which is the default)
--config.data.source='text:TEXTS/*.txt'.

The model and its training are those of the recipe that suits the machine (`BY_MACHINE`); how many
steps fit into the minutes is measured at the start. Each setting can be changed, as in any recipe.
"""

from electra_jax.config import machine
from electra_jax.config.recipe import recipe

# A CPU reads few tokens in an hour, so its model is small; an accelerator has enough for a larger.
BY_MACHINE = {'cpu': 'laptop.py', 'gpu': 'one_gpu.py', 'tpu': 'one_gpu.py'}


def get_config():
    kind = machine.kind()
    base = BY_MACHINE.get(kind, 'laptop.py')
    return recipe(
        {
            'minutes': 30.0,
            'remark': f'model and training are those of configs/{base}, for a {kind}',
            # The curves of a recipe are those of its own text.
            'log': {'reference': None},
            # Texts of one's own are often few: of 158 articles the usual 0.005 held out none.
            'data': {'path': 'corpora/own', 'source': None, 'holdout': 0.05},
        },
        base=base,
    )
