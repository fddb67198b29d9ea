"""Any task with what the ELECTRA paper gives for its small model: rate 3e-4, no weight decay. The
paper reports a GLUE dev average of 79.9 for ELECTRA-Small, the median of 10 runs of each task.
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'job': 'finetune',
            'batch_size': 32,
            'task': {'name': 'sst2'},  # --config.task.name=mnli, ...
            'optimizer': {'learning_rate': 3e-4, 'weight_decay': 0.0, 'layer_decay': 0.8},
        }
    )
