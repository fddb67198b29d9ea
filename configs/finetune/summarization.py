"""Summaries, by rows with the columns document and summary (.jsonl, .csv, .tsv); how good they get
depends on your data. Headlines and subjects are short: --config.task.decoder.target_length=32 saves
time.

    python -m electra_jax.main --config=configs/finetune/summarization.py --config.data.path=FOLDER
      --config.init_from=WORKDIR
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe({'task': {'name': 'summarization'}}, base='translation.py')
