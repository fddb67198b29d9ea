"""Any task with the small model of configs/laptop.py, in minutes on two cores: CoLA 12.5, MRPC
71.6, STS-B 74.8, SST-2 81.8, chunking 90.7 (docs/results.md has the conditions).

The learning rate is higher than for larger models and the same in all layers. A row is represented
by the means of its texts, because so short a pre-training leaves little in its first token.
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'job': 'finetune',
            'batch_size': 32,
            'data': {'row_length': 128},
            'task': {'name': 'sst2', 'epochs': 3.0, 'head': 'mean'},  # --config.task.name=cola, ...
            'optimizer': {'learning_rate': 1e-3, 'weight_decay': 0.01},
        }
    )
