"""Any task with the small model of configs/laptop.py, in minutes on two cores: CoLA 12.5, MRPC
71.6, STS-B 74.8, SST-2 81.8, chunking 90.7 (docs/results.md has the conditions).

These are the settings of those figures; task.py chooses such ones by itself, and more epochs where
rows are few.
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'job': 'finetune',
            'batch_size': 32,
            'data': {'row_length': 128},
            # --config.task.name=cola, ...
            'task': {'name': 'sst2', 'epochs': 3.0, 'head': 'mean', 'warmup_rate': 0.1},
            'optimizer': {'learning_rate': 1e-3, 'weight_decay': 0.01, 'layer_decay': 1.0},
        }
    )
