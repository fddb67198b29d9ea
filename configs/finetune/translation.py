"""Translation, by parallel files of your own (train.en and train.de, dev.en and dev.de) or rows
with two columns; how good it gets depends on your data. From a pre-trained model,
--config.init_from=WORKDIR; from scratch, --config.model.size=tiny
--config.data.tokenizer.path=corpora/NAME/tokenizer/electra_tokenizer.json.

    python -m electra_jax.main --config=configs/finetune/translation.py --config.data.path=FOLDER
      --config.task.columns.source=en --config.task.columns.target=de --config.init_from=WORKDIR
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'job': 'finetune',
            'batch_size': 64,
            'task': {'name': 'translation', 'defaults': 'reference', 'warmup_rate': 0.1},
            'optimizer': {
                'learning_rate': 1e-3,
                'weight_decay': 0.01,
                'layer_decay': 1.0,
                'bias_correction': True,
            },
        }
    )
