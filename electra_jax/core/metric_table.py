"""What each name in metrics.jsonl, in evaluations and on a progress line means: one table.

`docs/metrics.md` and `python -m electra_jax.main --explain` are made from it, and a test compares
it with what runs write. A name on a line of the terminal is the part of a metric's name after its
last slash, and has the same value. An objective or a kind of task that is added has the meanings of
its own metrics in its own file (`core.own_metrics`).
"""

import functools
import re
from collections.abc import Iterator, Mapping

from electra_jax.core import own_metrics
from electra_jax.core.own_metrics import Metric

_NATS, _SHARE, _CORRELATION = 'nats', 'share, 0 to 1', '-1 to 1'
_PER_MASKED = 'nats per masked token'
_PER_TOKEN = 'nats per token'
_MATCHES = 'The masked positions at which'

# What a training step computes. Each is a mean over the steps since the line before; steps that
# were skipped are left out of it.
TRAIN = {
    'loss': Metric(
        _NATS,
        'What a step minimizes: the losses below, each times its weight in config.objective; in '
        "fine-tuning the task's loss.",
    ),
    'mlm_loss': Metric(
        _PER_MASKED,
        "The generator's loss: minus the log of the probability that it gives to the original "
        'token. Where the generator predicts every token (two towers): nats per token.',
    ),
    'disc_loss': Metric(
        _PER_TOKEN,
        "The discriminator's loss: the cross-entropy of whether each token was replaced. It rises "
        'where the generator gets better. Of two stages: in the second one alone.',
    ),
    'fake_rate': Metric(
        _SHARE,
        'The tokens that differ from the original after the generator has written its samples; '
        'for Electric, the tokens that were written over.',
    ),
    'restored_loss': Metric(
        'nats per predicted token',
        'The loss of the main network, which names the original tokens of the corrupted text.',
    ),
    'selection_loss': Metric(
        _PER_MASKED,
        'The loss of picking the original token out of objective.num_candidates tokens.',
    ),
    'grad_norm': Metric('', 'The Euclidean length of the gradient of all parameters, unclipped.'),
    'update_norm': Metric('', 'The Euclidean length of the change of all parameters in a step.'),
    'learning_rate': Metric('', "The optimizer's rate by its schedule."),
    'skipped': Metric(
        _SHARE, 'The steps that were bad and not applied (config.health.on_bad_step=skip).'
    ),
}

# What an evaluation on held-out text finds; the generator's samples have temperature 1 there.
EVAL = {
    'mlm_loss': Metric(
        _PER_MASKED,
        "The generator's loss on held-out text: minus the log of the probability that it gives to "
        'the original token. It should fall well below unigram_loss.',
        'lower',
        'eval/unigram_loss',
    ),
    'unigram_loss': Metric(
        _PER_MASKED,
        'What mlm_loss would be if the generator knew how frequent each token is in the training '
        'text, and nothing more.',
    ),
    'mlm_accuracy': Metric(
        _SHARE, f"{_MATCHES} the generator's most probable token is the original one.", 'higher'
    ),
    'sampled_accuracy': Metric(
        _SHARE,
        f"{_MATCHES} the generator's sample happens to be the original token, which then counts "
        'as not replaced.',
    ),
    'sampled_top_share': Metric(
        _SHARE,
        f'{_MATCHES} the generator put the token that it put most often. From 0.5 on it has '
        'collapsed: it proposes one token nearly everywhere.',
    ),
    'disc_loss': Metric(
        _PER_TOKEN,
        "The discriminator's loss on held-out text; it depends on the generator as disc_auc does.",
    ),
    'disc_auc': Metric(
        _SHARE,
        'The chance that the discriminator finds a replaced token more suspicious than an '
        'original one: 0.5 is guessing, 1 is perfect. It is reached against the generator of the '
        'same run: a weak generator is easily seen through, so values at different mlm_loss '
        'cannot be compared. It may stay near 0.5 for a while before it rises.',
        'higher',
        0.5,
    ),
    'disc_precision': Metric(
        _SHARE, 'Of the tokens that the discriminator calls replaced, those that are.'
    ),
    'disc_recall': Metric(
        _SHARE, 'Of the replaced tokens, those that the discriminator calls replaced.'
    ),
    'disc_fake_share': Metric(
        _SHARE,
        'The tokens that the discriminator calls replaced (probability above 1/2). Near 0 while '
        'fake_rate is not, it gives the same answer everywhere.',
    ),
    'fake_rate': TRAIN['fake_rate'],
    'restored_loss': Metric(
        _PER_MASKED,
        "The main network's loss of naming the original tokens at the masked positions.",
        'lower',
    ),
    'restored_accuracy': Metric(
        _SHARE, f"{_MATCHES} the main network's most probable token is the original one.", 'higher'
    ),
    'selection_loss': Metric(
        _PER_MASKED, 'The loss of picking the original token out of objective.num_candidates.'
    ),
    'selection_accuracy': Metric(_SHARE, f'{_MATCHES} the original token is picked.', 'higher'),
}

PROGRESS = {
    'epochs': Metric(
        '', 'How often the training rows have been read so far: 0.5 is half of them once.'
    ),
    'words_read': Metric(
        'words',
        'How many words of the text have been read so far, those that are read again counted '
        'again: the rows that were read, times the mean words (between white space) in a row of '
        'the corpus. It is there where the corpus knows its words (train_words in its '
        'corpus.json).',
    ),
}

# Of the time, since the line before where no other time is named. No two runs agree in these.
SPEED = {
    'elapsed': Metric('s', 'The time that processes of this run have lived, over all its starts.'),
    'steps_per_second': Metric('1/s', 'Training steps in a second spent on training.'),
    'tokens_per_second': Metric(
        '1/s', 'Positions of the rows, padding included, in a second spent on training.'
    ),
    'input_share': Metric(
        _SHARE,
        'The time spent on training in which the program waited for text. Where it is large, the '
        'host keeps the devices waiting.',
    ),
    'device_share': Metric(
        _SHARE,
        'The time spent on training in which the program waited for the devices. Where it is near '
        '0, the host keeps the devices waiting.',
    ),
    'mfu': Metric(
        _SHARE,
        "Model FLOPs utilization: the arithmetic of the model's matrix products in a step, padding "
        'and room for the highest mask rate included, divided by what the devices can do at most '
        'in that time. On known accelerators alone.',
    ),
    'goodput': Metric(
        _SHARE,
        'The time since this process began that was spent on training steps, not on starting, '
        'compiling, evaluating or saving.',
    ),
    'run_goodput': Metric(
        _SHARE,
        'The same over all starts of the run; steps that had to be done again count once.',
    ),
}

HEALTH = {
    'loss_spike': Metric(
        'deviations', "How far a step's loss is above the median of config.health.spike_window."
    ),
    'skipped_steps': Metric('steps', 'Bad steps that were not applied, since the run began.'),
    'generator_collapse': Metric(
        '', '1 where the generator proposes one and the same token at half of the positions.'
    ),
    'one_class_discriminator': Metric(
        '', '1 where the discriminator gives the same answer for every token.'
    ),
}

# Scores of a task, 'finetune/TASK/METRIC', with '/SPLIT' before METRIC for further files. People
# read shares and correlations times 100 (`score`).
FINETUNE = {
    'accuracy': Metric(
        _SHARE, 'Rows, or words, with the right class; for several classes each: all right.',
        'higher',
    ),
    'f1': Metric(
        _SHARE,
        'The harmonic mean of precision and recall: of the class 1, of spans, or of the words of '
        'an answer.',
        'higher',
    ),
    'macro_f1': Metric(_SHARE, 'The mean over the classes of the F1 of each.', 'higher'),
    'micro_f1': Metric(_SHARE, 'F1 over all decisions about all classes.', 'higher'),
    'precision': Metric(_SHARE, 'Of the spans that were found, those that are right.', 'higher'),
    'recall': Metric(_SHARE, 'Of the true spans, those that were found.', 'higher'),
    'matthews': Metric(
        _CORRELATION, "Matthews' correlation of predicted and true class.", 'higher'
    ),
    'pearson': Metric(_CORRELATION, 'The correlation of predicted and true scores.', 'higher'),
    'spearman': Metric(_CORRELATION, 'The correlation of their ranks.', 'higher'),
    'mse': Metric("the score's, squared", 'The mean squared error of the scores.', 'lower'),
    'exact_match': Metric(
        _SHARE, 'Answers, or written texts, that are a reference, exactly.', 'higher'
    ),
    'bleu': Metric(
        _SHARE,
        'BLEU over the whole file (sacrebleu): runs of up to four words that texts share with '
        'their references.',
        'higher',
    ),
    'chrf': Metric(
        _SHARE, 'The chrF over the whole file (sacrebleu): the same of characters.', 'higher'
    ),
    'rouge1': Metric(
        _SHARE, 'The mean F1 of words that a text shares with its reference.', 'higher'
    ),
    'rouge2': Metric(_SHARE, 'The same of pairs of words.', 'higher'),
    'rougeL': Metric(_SHARE, 'The same of the longest sequence of words in common.', 'higher'),
    'mrr': Metric(
        _SHARE, 'The mean of 1 / rank of the right text among all candidates.', 'higher'
    ),
    **{
        f'recall_at_{k}': Metric(_SHARE, f'How often the right text is {where}.', 'higher')
        for k, where in ((1, 'the first one'), (5, 'among the first 5'), (20, 'among the first 20'))
    },
    'has_answer_exact': Metric(
        _SHARE, 'The exact_match over the questions that have an answer.', 'higher'
    ),
    'has_answer_f1': Metric(_SHARE, 'The f1 over the questions that have an answer.', 'higher'),
    'no_answer_exact': Metric(
        _SHARE, 'The exact_match over the questions that have no answer.', 'higher'
    ),
    'no_answer_f1': Metric(_SHARE, 'The f1 over the questions that have no answer.', 'higher'),
    'best_exact': Metric(
        _SHARE, 'The exact_match with the threshold for "no answer" that suits this file best.',
        'higher',
    ),
    'best_f1': Metric(_SHARE, 'The f1 with the threshold that suits this file best.', 'higher'),
    'best_exact_threshold': Metric('', 'The threshold of best_exact.'),
    'best_f1_threshold': Metric('', 'The threshold of best_f1.'),
}  # fmt: skip
# Over the trials of fine-tuning: 'finetune/TASK/METRIC_median', for example.
STATISTICS = ('median', 'mean', 'standard_deviation')

GROUPS = {
    'train': TRAIN,
    'eval': EVAL,
    'finetune/TASK': FINETUNE,
    'progress': PROGRESS,
    'speed': SPEED,
    'health': HEALTH,
}
SHIPPED = {f'{group}/{name}': one for group, ones in GROUPS.items() for name, one in ones.items()}


class _Metrics(Mapping[str, Metric]):
    """All metrics that have a meaning; those of added files are read when one is first asked for.

    A file that cannot be read is then an error of a command, and not of an import.
    """

    @functools.cached_property
    def _all(self) -> dict[str, Metric]:
        return {**SHIPPED, **own_metrics.read(SHIPPED)}

    def __getitem__(self, key: str) -> Metric:
        return self._all[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)


METRICS = _Metrics()


def names(group: str) -> set[str]:
    """The names of a group's metrics, which have a meaning; `group` is a key of GROUPS."""
    return {key.removeprefix(f'{group}/') for key in METRICS if key.startswith(f'{group}/')}


# Other words on the terminal.
WORDS = {
    'ETA': Metric(
        '',
        'The time that the rest takes: of training by the median of the newest steps (of '
        'fine-tuning with several row lengths their mean, and the compiling that is left), with as '
        'many evaluations and saves as so far; elsewhere at the mean speed so far.',
    ),
    'full': Metric(
        'percent',
        'Of the positions in the training rows, those that hold a token and not padding; prepare '
        'prints it.',
    ),
    'held-out': Metric('', 'An evaluation on text that the run is not trained on.'),
    'trivial': Metric('', 'What answering without a model reaches on the same rows.'),
}


def key_of(name: str) -> str | None:
    """The key of METRICS for the whole name of a metric; None: there is none.

    >>> key_of('finetune/mnli/dev_mismatched/accuracy_mean'), key_of('eval/other')
    ('finetune/TASK/accuracy', None)
    """
    if name in METRICS:
        return name
    match = re.fullmatch(r'finetune/.+/(\w+)', name)
    if match is None:
        return None
    for word in (match[1], *(match[1].removesuffix(f'_{one}') for one in STATISTICS)):
        if (key := f'finetune/TASK/{word}') in METRICS:
            return key
    return None


def unit_of(name: str) -> str:
    """The unit of a metric by its whole name; '': it has none, or is not known.

    >>> unit_of('eval/disc_loss'), unit_of('finetune/sst2/dev/accuracy'), unit_of('eval/other')
    ('nats per token', 'share, 0 to 1', '')
    """
    key = key_of(name)
    return METRICS[key].unit if key else ''


def scale(name: str) -> int:
    """What a metric is multiplied by for people: 100 for shares and correlations of a task.

    Files that programs read (metrics.jsonl, results.json, table.csv) have each metric as it is.

    >>> scale('finetune/sst2/accuracy'), scale('finetune/stsb/mse'), scale('eval/disc_auc')
    (100, 1, 1)
    """
    is_share = unit_of(name) in (_SHARE, _CORRELATION)
    return 100 if is_share and name.startswith('finetune/') else 1


def shown_unit(name: str) -> str:
    """The unit of a metric times its scale; '': it has none, or is not known."""
    return unit_of(name) if scale(name) == 1 else f'times {scale(name)}'


def score(name: str, value: float | None) -> str:
    """A score of a task, by its whole name, as people read it; '': there is none.

    >>> score('finetune/sst2/dev/accuracy', 0.7499), score('finetune/stsb/mse', 0.7499)
    ('74.99', '0.750')
    """
    if value is None:
        return ''
    return f'{value:.3f}' if scale(name) == 1 else f'{scale(name) * value:.2f}'


def standard_error(mean: float, rows: int) -> float:
    """The error of a mean over so many rows, as other rows would show it, in standard deviations.

    Of rows that are 0 or 1; of others from 0 to 1 it is at most that.

    >>> round(standard_error(0.75, 180), 3)
    0.032
    """
    return max(mean * (1 - mean) / rows, 0.0) ** 0.5


def keys_like(name: str) -> list[str]:
    """The keys that a whole name, or a word on the terminal, stands for; none: it is unknown.

    >>> keys_like('disc_loss'), keys_like('full')
    (['train/disc_loss', 'eval/disc_loss'], ['full'])
    """
    if key := key_of(name):
        return [key]
    words = [word for word in WORDS if word.lower() == name.lower()]
    last = name.rpartition('/')[2]  # as in dev/accuracy, where the name has a split of a task
    return [key for key in METRICS if key.rpartition('/')[2] == last] + words
