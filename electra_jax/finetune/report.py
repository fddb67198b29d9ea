"""What fine-tuning prints about a run before it starts."""

import collections
import shlex
from collections.abc import Mapping, Sequence

from etils import epath

from electra_jax.config import fields
from electra_jax.core import trees
from electra_jax.core.complaints import counted
from electra_jax.finetune import split as splits
from electra_jax.finetune.examples import repeated_lines
from electra_jax.finetune.fitting import LEAST_TRIED, STAGE_1
from electra_jax.finetune.kinds.kind import Task
from electra_jax.finetune.run import Run
from electra_jax.finetune.split import Loaded, Split
from electra_jax.interop import huggingface
from electra_jax.parallel.mesh import mesh_line
from electra_jax.tokenizers.unknown import unread_line

_SHOWN = 8  # classes that are listed


def following(folder: epath.Path) -> str:
    """What to type next with a fine-tuned model."""
    model = shlex.quote(str(folder))
    return f'next: python -m electra_jax.predict --checkpoint={model} --input=FILE'


def start_lines(run: Run) -> list[str]:
    """What is about to happen."""
    config, params, train = run.config, run.program.abstract_state.params, run.train
    both = ', pairs both ways round' if splits.doubles_pairs(config, run.task) else ''
    examples, rows = len(train.loaded.examples), len(train.rows)
    in_rows = f' in {counted(rows, "rows")}' if rows != examples else ''  # windows of questions
    values = {name: fields.get(config, name) for name in run.unset}
    if 'task.head' in values:  # the kind may lack the one that was chosen
        values['task.head'] = run.task.style
    lines = [
        origin_line(run),
        run.head.line,
        f'{STAGE_1}, and fine-tuning starts from it' if run.choice.origin.generator_alone else '',
        _little_text_line(run),
        f'{counted(examples, "examples")}{in_rows} to train on{both}; to score: '
        f'{_sizes(run.scored)}',
        run.choice.line(values, examples, is_fresh=run.account is None),
        _shorter_line(run),
        classes_line(train.loaded),
        weights_line(run.task),
        _other_head_line(run),
        scale_line(run.task),
        *run.trivial.lines_with_scores(),
        f'to predict: {_sizes(run.tests)}' if run.tests else '',
        *complaints({'train': train, **run.scored, **run.tests}),
        *repeated_lines(
            train.loaded.examples, {name: one.loaded.examples for name, one in run.scored.items()}
        ),
        f'row lengths {train.shares()}: one compilation each',
        f'{config.trials} x {counted(config.total_steps, "steps")} of '
        f'{counted(config.batch_size, "rows")}',
        f'workdir {run.folder}',
    ]
    return [
        f'{run.task.name} ({run.task.kind}, head {run.task.style}): '
        f'{trees.count(params) / 1e6:.1f}M parameters on {mesh_line(run.program.mesh)}',
        *(f'  {line}' for line in lines if line),
    ]


def origin_line(run: Run) -> str:
    """What the parameters start from."""
    account = run.account
    if account is not None:
        # The head's line has what of the head is loaded.
        unused = [path for path in account.unused if path.split('/')[0] not in run.head.parts]
        account = account._replace(unused=unused)
        return account.line(run.config, _fresh_part(run) or next(iter(account.fresh), 'nothing'))
    like = f', with the model and tokenizer of {run.start.where}' if run.start.where else ''
    return f'from scratch: no parameter comes from a pre-trained model{like}'


def _fresh_part(run: Run) -> str:
    """The part of the head that is not loaded; '': none is, or the head has no parameters."""
    paths = (path for path, _ in trees.named_leaves(run.program.abstract_state.params))
    loaded = [path in run.source for path in paths if path.startswith('task_head/')]
    if all(loaded):
        return ''
    return 'the rest of task_head' if any(loaded) else 'task_head'


def complaints(some: Mapping[str, Split]) -> list[str]:
    """Rows of files that were left out, repaired or cut, and splits with many unknown words."""
    lines = [
        f'{name}: {line}' for name, one in some.items() for line in one.loaded.complaints.lines()
    ]
    unknown = (unread_line(name, one.unknown) for name, one in some.items())
    return [*lines, *filter(None, unknown)]


def _sizes(some: Mapping[str, Split]) -> str:
    return ', '.join(f'{name} {len(one.loaded.examples):,}' for name, one in some.items())


# ---------------------------------------------------------------------------------------------
# Lines that only some runs have; '': this one has not


def _little_text_line(run: Run) -> str:
    tokens = run.choice.origin.tokens
    if not run.source or tokens is None or tokens >= LEAST_TRIED:
        return ''
    return (
        'warning: models that have read so little text were not tried, and may be worth no more '
        'than fresh parameters: to compare, type --config.init_network=none and another --workdir'
    )


def _shorter_line(run: Run) -> str:
    longest, wanted = run.task.row_length, run.task.spec.row_length
    if not longest == run.config.model.max_positions < wanted:
        return ''
    return f'rows of {longest} tokens, the longest of this model; the task has {wanted}'


def _other_head_line(run: Run) -> str:
    """What to type for a head that can be converted, which is too late once the run is over."""
    head = run.program.abstract_state.params.get('task_head', {})
    wanted = huggingface.head_wanted(run.config.model, run.task.kind, head)
    if wanted is None:
        return ''
    return (
        f'note: transformers has no class with the head {run.task.style}: for a model that can be '
        f'converted to one, type --config.task.head={wanted}'
    )


def classes_line(train: Loaded) -> str:
    """How many training texts each class has, the most frequent first."""
    given = (getattr(example, 'label', None) for example in train.examples)
    counts = collections.Counter(label for label in given if isinstance(label, str))
    if not counts or not train.task.labels:
        return ''
    numbers = {label: counts[label] for label in train.task.labels}
    pairs = sorted(numbers.items(), key=lambda item: -item[1])
    return f'{counted(len(numbers), "classes")} to train on: {_listed(pairs, ",")}'


def weights_line(task: Task) -> str:
    """What each class counts in the loss, where that differs."""
    if not task.class_weights:
        return ''
    pairs = list(zip(task.labels, task.class_weights, strict=True))
    return f'each class counts in the loss by a weight: {_listed(pairs, ".3g")}'


def _listed(pairs: Sequence[tuple[str, float]], form: str) -> str:
    """The first classes, with a number each."""
    shown = ', '.join(f'{label!r} {number:{form}}' for label, number in pairs[:_SHOWN])
    return shown + (', ...' if len(pairs) > _SHOWN else '')


def scale_line(task: Task) -> str:
    """Which scale a regression learns, and which one its answers have."""
    if task.score_range is None:
        return ''
    low, high = task.score_range
    return (
        f'scores from {low:g} to {high:g} are learned as 0 to 1; predictions have the scale of the '
        'file'
    )
