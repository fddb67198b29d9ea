"""Any task (--config.task.name=mnli, ...) with the ELECTRA paper's settings for its small model: a
rate of 3e-4, no weight decay. The paper reports a GLUE dev average of 79.9 for ELECTRA-Small, the
median of 10 runs of each task.
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'task': {'defaults': 'reference'},
            'optimizer': {'learning_rate': 3e-4, 'weight_decay': 0.0},
        },
        base='task.py',
    )
