"""What pre-training prints at its start and at its end."""

import json
import math
import shlex
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from etils import epath

from electra_jax.config import fields
from electra_jax.config.resolve import first_stage, highest_mask_rate
from electra_jax.config.settings import Config, ObjectiveConfig
from electra_jax.core import files, trees
from electra_jax.core.complaints import counted
from electra_jax.data import manifest
from electra_jax.model.flops import flops_of_stages
from electra_jax.objectives.table import OBJECTIVES
from electra_jax.parallel.mesh import mesh_line
from electra_jax.pretrain import text as texts
from electra_jax.pretrain.program import Program
from electra_jax.pretrain.text import Text
from electra_jax.runtime import cli, distributed
from electra_jax.train import log, metric_lines, seals, signals, workdir
from electra_jax.train.clock import Clock
from electra_jax.train.loop import Outcome

_SHORT = 0.5  # of its share: a stage that had less
EVALUATION_FILE = 'evaluation/results.json'  # in the workdir, as that of fine-tuning


def facts(program: Program, text: Text, flops: Mapping[str, float]) -> dict[str, Any]:
    """What `config.json` keeps of a run besides its settings; `flops` are those of a token."""
    corpora = [
        {
            'path': str(corpus.path),
            'source': corpus.source,
            'fingerprint': corpus.fingerprint,
            'held_out_fingerprint': corpus.held_out_fingerprint,
            'tokenizer_hash': corpus.tokenizer_hash,
            'weight': weight,
            **corpus.counts,
            'held_out_rows': sum(shard.rows for shard in corpus.shards['validation']),
        }
        for corpus, weight in zip(text.corpora, text.weights, strict=True)
    ]
    params = program.abstract_state.params
    size, networks = text.tokenizer.vocab_size, program.objective.networks
    return {
        'flops_per_token': dict(flops),
        'flops_of_stages': flops_of_stages(program.config, size, networks),
        'devices': mesh_line(program.mesh),
        'platform': program.mesh.devices.flat[0].platform,
        'parameters': {name: trees.count(params[name]) for name in params},
        'corpora': corpora,
    }


def start(
    program: Program,
    text: Text,
    folder: epath.Path,
    flops: Mapping[str, float],
    read: str | None,
    kept: Sequence[str],
) -> str:
    """What is about to be trained.

    Args:
        flops: of a token.
        read: its words, from `words.line`.
        kept: the notes of `words.kept_notes`.
    """
    config, data = program.config, program.config.data
    rows = texts.training_rows(text)
    tokens = config.total_steps * config.batch_size * data.row_length
    millions = trees.count(program.abstract_state.params) / 1e6
    all_flops = ' and '.join(f'{flops[name] * tokens:.3g}' for name in ('mfu', 'paper'))
    lines = [
        f'{config.objective.name} {config.model.size}: {millions:.1f}M parameters,',
        f'  on {mesh_line(program.mesh)}',
        f'  {flops["mfu"] / 1e9:.4g} GFLOP a token (6 N + attention), '
        f"{flops['paper'] / 1e9:.4g} by the paper's count: "
        f'{all_flops} FLOP for {tokens:.3g} tokens',
        f'  {counted(rows, "rows")} of {data.row_length} tokens, batches of {config.batch_size}',
        f'  {counted(config.total_steps, "steps")}: {tokens / rows / data.row_length:.3g} times '
        f'through these rows, {tokens / millions / 1e6:.3g} tokens for each parameter',
    ]
    if read is not None:
        lines.append(f'  {read}')
    if config.remark:
        lines.append(f'  {config.remark}')
    notes = [*not_read(config, text), *kept]
    notes += [*stages(config), *rising(config.objective), *spared(config.objective)]
    lines += [f'  note: {line}' for line in notes]
    lines += [f'  warning: {line}' for line in long_warmup(config, folder)]
    for corpus in text.corpora:
        lines += [f'  warning: {line}' for line in manifest.warnings(corpus)]
    return '\n'.join([*lines, f'  workdir {folder}'])


def not_read(config: Config, text: Text) -> list[str]:
    """Images that the model ignores."""
    return [
        f'the images of {one.path} are not read, because config.model.image_size is not set'
        for one in text.corpora
        if one.image_size and config.model.image_size is None
    ]


def stages(config: Config) -> list[str]:
    """Until when the discriminator is not trained, if it is not from the start."""
    first = first_stage(config)
    return [
        f'until step {first:,} of {config.total_steps:,} only the generator is trained '
        f'(config.objective.name={config.objective.name}): what is called disc_... means nothing '
        'until then'
    ][: bool(first)]


def long_warmup(config: Config, folder: epath.Path | None = None) -> list[str]:
    """That the learning rate rises for most of the run, or of one of its stages, if it does.

    A run that has begun in `folder`, or is a branch of another, cannot change it any more.
    """
    if config.branch_from is not None or (folder is not None and workdir.begun(folder)):
        return []
    first, warmup = first_stage(config), config.optimizer.warmup_steps
    shortest = min(first, config.total_steps - first) if first else config.total_steps
    return [
        f'config.optimizer.warmup_steps is {warmup:,}, and '
        f'{"a stage of the run" if first else "the run"} has {counted(shortest, "steps")}: the '
        'learning rate rises for most of them, and little is learnt; type '
        '--config.optimizer.warmup_share=0.1'
    ][: 2 * warmup > shortest]


def rising(objective_config: ObjectiveConfig) -> list[str]:
    """Why the loss will rise though nothing is wrong, if it will."""
    lines = []
    coldest, rate = objective_config.temperature_end, objective_config.mask_rate_end
    samples = bool(OBJECTIVES[objective_config.name].generators)
    if samples and coldest is not None and coldest < objective_config.temperature:
        lines.append(
            "the temperature of the generator's samples falls from "
            f'{objective_config.temperature:g} to {coldest:g}: they get harder to detect, so '
            'disc_loss and loss will rise meanwhile, and nothing is wrong then'
        )
    if rate is not None and rate > objective_config.mask_rate:
        lines.append(
            f'the mask rate rises from {objective_config.mask_rate:g} to {rate:g}: less context is '
            'left, so the losses will rise meanwhile, and nothing is wrong then'
        )
    return lines


def spared(objective_config: ObjectiveConfig) -> list[str]:
    """That a lower mask rate costs as much as the highest one, where the rate changes."""
    return [
        'every step computes as many positions as the highest mask rate needs '
        f'({highest_mask_rate(objective_config):g}), and is counted so in FLOP and MFU'
    ][: objective_config.mask_rate_end not in (None, objective_config.mask_rate)]


def finished(
    step: int, config: Config, text: Text, folder: epath.Path, typed: Collection[str] = ()
) -> str:
    """The end of a run again, where its command is typed after it."""
    evaluation = evaluation_at(step, folder)
    notes = [*not_read(config, text), *not_used(config, folder, typed)]
    lines = [f'note: {line}' for line in notes]
    return '\n'.join([*lines, *_result(step, evaluation, config), *_what_next(config, folder)])


def not_used(config: Config, folder: epath.Path, typed: Collection[str]) -> list[str]:
    """Settings that are typed for a run that is over, and differ from those that it had."""
    before = workdir.recorded(folder) or {}
    differ = [
        f'config.{name}={fields.get(config, name)} (it had {before[name]})'
        for name in sorted(typed)
        if name in before and name[:5] != 'data.' and before[name] != fields.get(config, name)
    ]
    return [f'the run is over and does not use {", ".join(differ)}'][: bool(differ)]


def evaluation_at(step: int, folder: epath.Path) -> dict[str, float]:
    """The metrics on held-out text after a step, as metrics.jsonl has them."""
    return {
        name.removeprefix('eval/'): math.nan if value is None else value
        for line in metric_lines.read(folder)
        for name, value in line.items()
        if line['step'] == step and name.startswith('eval/')
    }


def end(
    outcome: Outcome,
    clock: Clock,
    config: Config,
    folder: epath.Path,
    kept: Mapping[int, float],
) -> str:
    """The result, where its files are, and what to type next."""
    step = int(outcome.state.step)
    if outcome.stopped_by:
        return signals.ended(outcome.stopped_by, step)
    result = _result(step, outcome.evaluation, config)
    lines = [*result, clock.goodput_line(), *kept_for_good(kept, folder)]
    return '\n'.join([*lines, *_what_next(config, folder)])


def kept_for_good(kept: Mapping[int, float], folder: epath.Path) -> list[str]:
    """How many checkpoints stay for good, by their words."""
    steps = ', '.join(f'{step} ({words:g})' for step, words in kept.items())
    return [
        f'kept for good: {counted(len(kept), "checkpoints")} in {folder / seals.FOLDER}, by step '
        f'(and words): {steps}'
    ][: len(kept)]


def scored(
    step: int, evaluation: Mapping[str, float], config: Config, text: Text, folder: epath.Path
) -> str:
    """What an evaluation of a checkpoint found, and the file that has it."""
    rows, paths = _scored_rows(config, text)
    held_out = texts.held_out_rows(text)
    mean = ', the running mean of its parameters' if config.eval.average else ''
    lines = [
        f'scored: step {step} of {folder}{mean}',
        f'  on {rows:,} of {counted(held_out, "held-out rows")} of {", ".join(paths)}',
        *[f'  {line}' for line in log.scores(evaluation) or ['no held-out text']],
    ]
    if {'mlm_loss', 'unigram_loss'} <= evaluation.keys():
        below = evaluation['unigram_loss'] - evaluation['mlm_loss']
        where = 'below' if below > 0 else 'above'
        lines.append(f'  mlm_loss is {abs(below):.4f} {where} what word frequencies alone give')
    lines += [f'warning: {line}' for line in too_short(config, evaluation)]
    return '\n'.join([*lines, f'files: {folder / EVALUATION_FILE}'])


def write_scored(
    step: int, evaluation: Mapping[str, float], config: Config, text: Text, folder: epath.Path
) -> None:
    """Writes what an evaluation of a checkpoint found into the workdir, on the first host."""
    if not distributed.is_first():
        return
    rows, paths = _scored_rows(config, text)
    metrics = {k: value if math.isfinite(value) else None for k, value in evaluation.items()}
    content = {'step': step, 'rows': rows, 'corpora': paths, 'metrics': metrics}
    path = folder / EVALUATION_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_whole(path, json.dumps(content, indent=2) + '\n')


def _scored_rows(config: Config, text: Text) -> tuple[int, list[str]]:
    """How many rows an evaluation scores, and the corpora that they are of."""
    rows = min(texts.held_out_rows(text), config.eval.rows)
    return rows, [str(one.path) for one in text.corpora]


def _result(step: int, evaluation: Mapping[str, float], config: Config) -> list[str]:
    metrics = ', '.join(log.scores(evaluation))
    return [
        f'done: {counted(step, "steps")}, {metrics or "no held-out text"}',
        *[f'warning: {line}' for line in too_short(config, evaluation)],
        *[f'warning: {line}' for line in short_second_stage(config)],
    ]


def _what_next(config: Config, folder: epath.Path) -> list[str]:
    events = ', tensorboard/' if 'tensorboard' in config.log.trackers else ''
    return [
        f'files: {folder} (checkpoints/, metrics.jsonl{events})',
        *cli.activation(),
        following(config, folder),
    ]


def too_short(config: Config, evaluation: Mapping[str, float]) -> list[str]:
    """Whether what should have learned to predict tokens knows only how frequent they are."""
    loss, frequencies = evaluation.get('mlm_loss'), evaluation.get('unigram_loss')
    generator, is_frozen = config.model.generator, config.objective.freeze_generator
    if not metric_lines.is_untaught(loss, frequencies, generator, is_frozen):
        return []
    return [
        f'mlm_loss ({loss:.4f}) is not below unigram_loss ({frequencies:.4f}): the model predicts '
        'tokens no better than their frequencies alone do; train longer, with a larger '
        'config.minutes or config.total_steps'
    ]


def short_second_stage(config: Config) -> list[str]:
    """Whether the discriminator was trained for far less than its share of a run of minutes."""
    first, total = first_stage(config), config.total_steps
    share = 1 - (config.objective.generator_share or 0.5)  # steps cannot be typed with minutes
    if not first or config.minutes is None or total - first >= _SHORT * share * total:
        return []
    return [
        f'the discriminator was trained for {counted(total - first, "steps")} of {total:,}, which '
        f'is far less than its share of {share:.0%}: the machine was slower than it was measured '
        'at the start; for a better discriminator train again, with a larger config.minutes'
    ]


def following(config: Config, folder: epath.Path) -> str:
    """What to type next with a pre-trained model."""
    model, tuned = shlex.quote(str(folder)), shlex.quote(f'{folder}-tuned')
    task = '' if OBJECTIVES[config.objective.name].detects else ' --task=embed'
    return (
        'next: python -m electra_jax.main --config=configs/finetune/own_text.py '
        f'--config.init_from={model} --config.data.path=FOLDER --workdir={tuned}\n'
        '  (fine-tunes it on your own rows, with columns text and label: train.csv and dev.csv in '
        'FOLDER, or train.csv alone with --config.task.dev_share=0.1; docs/finetuning.md has tags, '
        'questions, summaries, translations and other tasks)\n'
        f'or: python -m electra_jax.predict --checkpoint={model}{task} --input=FILE'
    )
