"""Your own tags: train.txt and dev.txt in --config.data.path, a word and its tag a line, a blank
line between sentences (also .tsv; .conllu with --config.task.columns.tags=3), or a sentence a row
with columns 'words' and 'tags' (.jsonl, .csv, .tsv); reaches what your data lets it.
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'job': 'finetune',
            'batch_size': 32,
            'task': {'name': 'tagging'},
            # Large models: 5e-5 and 0.9 (google-research/electra, configure_finetuning.py).
            'optimizer': {'learning_rate': 1e-4, 'weight_decay': 0.01, 'layer_decay': 0.8},
        }
    )
