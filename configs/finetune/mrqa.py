"""One of MRQA's question sets in its own JSON lines: newsqa, naturalqs, triviaqa, searchqa or
hotpotqa (--config.task.name=...), scored by exact match and F1. No published figure is quoted
here.
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'job': 'finetune',
            'batch_size': 32,
            'task': {'name': 'newsqa'},
            # Large models: 5e-5 and 0.9 (google-research/electra, configure_finetuning.py).
            'optimizer': {'learning_rate': 1e-4, 'weight_decay': 0.01, 'layer_decay': 0.8},
        }
    )
