"""The main job: ``python -m electra_jax.main --config=configs/small.py [--workdir=DIR]``.

Type the same command again after a stop of any kind, and the run continues from its newest
checkpoint.

Examples:
    python -m electra_jax.main --config=configs/own.py --config.data.source='text:TEXTS/*.txt'
    python -m electra_jax.main --config=configs/small.py --config.data.path=corpora/mine \\
      --config.optimizer.learning_rate=1e-3 --workdir=runs/mine
    python -m electra_jax.main --config=configs/finetune/own_text.py --config.data.path=FOLDER \\
      --config.init_from=runs/mine --workdir=runs/reviews
"""

import sys

from electra_jax.runtime import early, explain

if __name__ == '__main__':
    explain.if_asked(sys.argv[1:])
    # Large pages make training on a CPU faster, and only an environment variable that is set before
    # a process starts asks for them. The restart comes before the imports, which take seconds.
    early.begin(__file__, trains=True)

from absl import flags

from electra_jax.config.fields import Settings
from electra_jax.core import files
from electra_jax.runtime import cli

CONFIG = cli.config_flag()
WORKDIR = flags.DEFINE_string(
    'workdir', None, 'folder of the run; runs/<name of the config> if not given'
)
flags.DEFINE_string(
    'explain', None, 'print what the numbers of a run mean, or one of them (=disc_auc), and end'
)


def main(settings: Settings) -> None:
    """Does the job of the settings: pre-training, fine-tuning, or evaluation of either."""
    # JAX and the jobs take seconds to import: mistakes in settings are reported before.
    from electra_jax.objectives import table
    from electra_jax.report import job as reports
    from electra_jax.runtime import compiled, distributed, malloc, terminal, watchdog
    from electra_jax.train import trackers

    folder = files.absolute(WORKDIR.value or f'runs/{cli.run_name(CONFIG, settings)}')
    typed = cli.typed_settings(CONFIG)
    settings = table.complete(settings, typed)
    reports.check(settings)
    trackers.check(settings.log.trackers)
    malloc.compute_in_main_thread()  # before the devices are looked for
    with watchdog.together():
        compiled.keep(settings.compilation_cache)
        is_task = settings.job == 'evaluate' and settings.task.name is not None
        if settings.job == 'finetune' or is_task:
            from electra_jax.finetune import job as finetuning

            finetuning.run(settings, folder)
        else:
            from electra_jax.corpus import job as corpora
            from electra_jax.pretrain import job as pretraining

            pretraining.run(settings, folder, corpora.build_corpus, typed)
        is_run = settings.job != 'evaluate' and settings.replay is None
        if is_run and settings.log.report and distributed.is_first():
            terminal.OUT.print(reports.at_end(folder))


if __name__ == '__main__':
    cli.run(main, CONFIG)
