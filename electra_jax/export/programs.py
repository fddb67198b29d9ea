"""What an artifact computes: functions of parameters and token rows, with finished answers."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.core.batch import Batch
from electra_jax.core.errors import CheckpointError, ConfigError, unknown
from electra_jax.finetune.kinds.kind import Task
from electra_jax.finetune.kinds.table import KINDS
from electra_jax.inference.abilities import detect, embed
from electra_jax.inference.opened import Opened
from electra_jax.model.bind import Model, Params
from electra_jax.tokenizers.api import SpecialIds

# R: tokens that an answer may go on from its start; S: starts of a beam search; T: ends of each

Outputs = dict[str, jax.Array]
Answer = Callable[[Params, Batch], Outputs]
IMPOSSIBLE = -1e9  # the score of a pair of tokens that is no answer


class Program(NamedTuple):
    """What is exported of a checkpoint."""

    task: str  # 'embed', 'detect', or the kind of the task that it was fine-tuned on
    networks: tuple[str, ...]  # keys of `model.bind.NETWORKS` whose parameters it needs
    outputs: Callable[[Model, SpecialIds], Answer]
    meanings: Mapping[str, str]  # of the outputs, by their names
    tuned: Task | None = None  # that the checkpoint was fine-tuned on, and whose answers it gives

    def shapes(self, model: Model) -> Params:
        """The shapes of all parameters that it needs."""
        params = model.shapes(self.networks)
        if self.tuned is not None:
            head = KINDS[self.tuned.kind].head(self.tuned)
            key = jax.random.key(0)
            params['task_head'] = jax.eval_shape(model.head(head).init, key)
        return params

    @property
    def has_second_type_only(self) -> bool:
        """Whether every token has type 1, as the head was trained."""
        task = self.tuned
        return task is not None and task.kind == 'tagging' and task.style == 'reference'


def choose(opened: Opened, task: Task | None, asked: str) -> Program:
    """The program for `--task`; `task` is what the checkpoint was fine-tuned on.

    Raises:
        ConfigError: there is no such program, or none for a task of this kind.
        CheckpointError: the checkpoint lacks the head that it needs.
    """
    if asked not in TASKS:
        raise unknown('--task', asked, TASKS)
    if asked == 'auto' and task is not None:
        return of_task(task)
    name = 'detect' if asked == 'auto' else asked
    if name == 'detect':
        detect.check_detects(opened)
        if opened.generator_alone:
            raise CheckpointError(
                f'the discriminator of {opened.where} is not trained yet: its run ended in the '
                'first of two stages'
            )
    return _PRETRAINED[name]


def of_task(task: Task) -> Program:
    """The program of a fine-tuned model."""
    shape = KINDS[task.kind].head(task)
    if task.kind not in _TUNED or shape.is_apart:
        raise ConfigError(
            f'the model was fine-tuned on {task.name}, a task of the kind {task.kind!r}, with the '
            f'head {task.style!r}, which cannot be exported, allowed: {", ".join(_TUNED)}, with '
            'other heads than prompt; --task=embed exports its encoder'
        )
    finish, meanings = _TUNED[task.kind]

    def outputs(model: Model, special: SpecialIds) -> Answer:
        answers = model.head(shape).answers

        def run(params: Params, batch: Batch) -> Outputs:
            return finish(task, answers(params, batch), batch, special)

        return run

    return Program(task.kind, ('encoder',), outputs, meanings, task)


# ---------------------------------------------------------------------------------------------
# The answers of fine-tuned models: task, what the head gives, batch, special ids -> outputs


def _classes(task: Task, found: Outputs, batch: Batch, special: SpecialIds) -> Outputs:
    return {'probabilities': jax.nn.softmax(found['logits'])}


def _several_classes(task: Task, found: Outputs, batch: Batch, special: SpecialIds) -> Outputs:
    return {'probabilities': jax.nn.sigmoid(found['logits'])}


def _score(task: Task, found: Outputs, batch: Batch, special: SpecialIds) -> Outputs:
    low, high = task.score_range or (0.0, 1.0)
    return {'score': low + (high - low) * found['logits'][:, 0]}


def _spans(task: Task, found: Outputs, batch: Batch, special: SpecialIds) -> Outputs:
    """The best answer in each row, by the rules of `finetune.kinds.span_answers`."""
    if 'start' in found:
        start_BL, end_BL = found['start'], found['end']
        L = start_BL.shape[1]
        start_LR, step_LR = np.indices((L, min(task.answer_length, L)))
        end_LR = np.minimum(start_LR + step_LR, L - 1)
        score_BLR = start_BL[:, start_LR] + end_BL[:, end_LR]
        # Ends behind the row repeat its last token, which is no part of the text.
        none_B = start_BL[:, 0] + end_BL[:, 0]
        starts, ends = (jnp.broadcast_to(x, score_BLR.shape) for x in (start_LR, end_LR))
        start, end, score_B = _best(task, batch, special, starts, ends, score_BLR)
        return {'start': start, 'end': end, 'none_score': none_B - score_B}
    score_BST = found['start_log_prob'][..., None] + found['end_log_prob']
    starts = jnp.broadcast_to(found['start_index'][..., None], score_BST.shape)
    start, end, _ = _best(task, batch, special, starts, found['end_index'], score_BST)
    return {'start': start, 'end': end, 'none_score': found['impossible']}


def _best(
    task: Task,
    batch: Batch,
    special: SpecialIds,
    starts: jax.Array,
    ends: jax.Array,
    scores: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """First and last token [B] of the best pair of each row, the first of equal ones; its score.

    Starts, ends and scores have one shape, [B, ...].
    """
    text_BL = (batch['types'] == 1) & (batch['documents'] > 0) & (batch['tokens'] != special.sep)
    starts, ends, scores = (x.reshape(*x.shape[:1], -1) for x in (starts, ends, scores))
    allowed = jnp.take_along_axis(text_BL, starts, axis=1)
    allowed &= jnp.take_along_axis(text_BL, ends, axis=1)
    allowed &= (starts <= ends) & (ends < starts + task.answer_length)
    scores = jnp.where(allowed, scores, IMPOSSIBLE)
    best = jnp.argmax(scores, axis=1)[:, None]
    start_B1, end_B1, score_B1 = (
        jnp.take_along_axis(x, best, axis=1) for x in (starts, ends, scores)
    )
    return start_B1[:, 0], end_B1[:, 0], score_B1[:, 0]


_PROBABILITIES = 'the probability of each label'
# Kind of task -> what becomes of its head's outputs, and what they mean.
_TUNED: dict[str, tuple[Callable[[Task, Outputs, Batch, SpecialIds], Outputs], dict[str, str]]] = {
    'classification': (_classes, {'probabilities': _PROBABILITIES}),
    'multi_label': (_several_classes, {'probabilities': f'{_PROBABILITIES}, which have no sum'}),
    'regression': (_score, {'score': 'the score, in the range of the training file'}),
    'tagging': (
        _classes,
        {'probabilities': f'{_PROBABILITIES} for each token; a word has that of its first token'},
    ),
    'spans': (
        _spans,
        {
            'start': 'the first token of the answer',
            'end': 'its last token',
            'none_score': 'the higher, the more likely there is no answer in the row',
        },
    ),
}

_PRETRAINED = {
    'embed': Program(
        'embed',
        ('encoder',),
        embed.means,
        {'vector': 'the mean of the last hidden states of the tokens, without [CLS] and [SEP]'},
    ),
    'detect': Program(
        'detect',
        ('discriminator',),
        lambda model, special: detect.probabilities(model),
        {'replaced': 'the probability that each token was replaced'},
    ),
}
TASKS = ('auto', *_PRETRAINED)  # values of `--task`
