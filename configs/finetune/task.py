"""Any task by its name, with settings that suit the checkpoint and the number of rows: a run prints
those that it chose, and each can be typed. For a released model they are those of
google-research/electra, whose published dev figures (medians over seeds, times 100) are:

    python -m electra_jax.main --config=configs/finetune/task.py --config.task.name=mrpc
      --config.data.path=GLUE --config.init_from=WORKDIR

    task.name  metric                 Small++  Base++  Large  Small-OWT
    cola       Matthews correlation    57.0     67.7   69.1     56.8
    sst2       accuracy                91.2     95.1   96.9     88.3
    mrpc       accuracy                88.0     89.5   90.8     87.4
    stsb       Spearman correlation    87.5     91.2   92.6     86.8
    qqp        accuracy                89.0     91.5   92.4     88.3
    mnli       accuracy, matched       81.3     88.8   90.9     78.9
    qnli       accuracy                88.4     93.2   95.0     87.9
    rte        accuracy                66.7     82.7   88.0     68.5
    squad1     exact match             75.8     86.8   89.7
    squad2     exact match             70.1            88.1
    chunk      F1 on CoNLL-2000 test   96.5     97.1   97.2

No figure is quoted for wnli (the larger class alone reaches 56.3 on dev), ner (CoNLL-2003), newsqa,
naturalqs, triviaqa, searchqa and hotpotqa (MRQA's files), nor for your own data: text (own_text.py
names its columns), text_multi_label (any number of classes a text), text_regression, tagging (a
word and its tag a line, or rows with words and tags) and spans (SQuAD's .json, or rows with
context, question and answers).
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'job': 'finetune',
            'task': {'name': 'sst2'},
        }
    )
