"""Pre-training that continues from a checkpoint, on your own text: a tenth of the steps, a fifth
of the learning rate, a warm-up for the optimizer's fresh moments. Name the checkpoint and the
text: --config.init_from=huggingface:FOLDER --config.data.path=FOLDER; rows are as long as those of
the corpus. For another size:
--config.model.size=base --config.optimizer.learning_rate=4e-5.
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'total_steps': 100_000,
            'data': {'path': None, 'source': None},
            'optimizer': {'learning_rate': 1e-4, 'warmup_steps': 2_000},
        },
        base='small.py',
    )
