"""The model card of a converted model: README.md, what a person needs to know before using it."""

import pathlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from electra_jax.core import metric_table, trees
from electra_jax.core.complaints import counted
from electra_jax.core.errors import CheckpointError
from electra_jax.core.files import parse_object
from electra_jax.core.metric_table import METRICS
from electra_jax.interop.checkpoint import STARTED_FROM, Checkpoint
from electra_jax.interop.own_folder import last_part, plain
from electra_jax.runtime import terminal
from electra_jax.train import metric_lines, workdir

FILE = 'README.md'
# Of the metrics of held-out text, those that a card has at several steps, and at how many.
_CURVE = ('eval/mlm_loss', 'eval/disc_auc', 'eval/restored_accuracy', 'eval/selection_accuracy')
_POINTS = 8
RESULTS_FILE = 'results.json'  # of a fine-tuning run


class Facts(NamedTuple):
    """What a card tells next to what the checkpoint itself records."""

    name: str  # of the model
    loaded_by: str  # the package that loads it
    run: pathlib.Path | None  # its workdir, if it comes from one of ours
    license: str | None
    revision: str | None  # 'step-N'
    results: Sequence[pathlib.Path]  # results.json of fine-tuning runs that started from it


def workdir_of(path: pathlib.Path) -> pathlib.Path | None:
    """The workdir that a checkpoint of ours stands in."""
    near = (path, path.parent, path.parent.parent)
    return next((one for one in near if (one / workdir.CONFIG_FILE).is_file()), None)


def text(found: Checkpoint, facts: Facts) -> str:
    """The card in Markdown; CheckpointError where a record that it tells of is damaged."""
    about = found.about or {}
    front = [f'license: {facts.license}'] if facts.license else []
    tokenizer, model = found.tokenizer, found.model
    assert tokenizer is not None  # `convert` has looked
    what = (
        f'a model of the kind {found.task}' if found.task else f'pre-trained as {found.objective}'
    )
    try:
        training = [*_training(about, facts), *_held_out(about, facts)]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f'the checkpoint does not describe its training ({error!r:.100})'
        ) from error
    lines = [
        *('---', *front, f'library_name: {facts.loaded_by}', 'tags: [electra, jax]', '---', ''),
        *(f'# {facts.name}', ''),
        f'ELECTRA, {what}: {trees.count(found.params):,} parameters in {found.dtype}, '
        f'{counted(model.num_layers, "layers")} of width {model.hidden_size}, '
        f'{tokenizer.vocab_size:,} tokens, rows of up to {model.max_positions} tokens.',
        *([f'Labels: {", ".join(found.labels)}.'] if found.labels else []),
        *training,
        *_scores(facts),
        *_limits(found),
        *('', '## License', ''),
        facts.license or 'None is stated: ask those who trained it before you use it.',
    ]
    return '\n'.join(lines) + '\n'


def _training(about: Mapping[str, Any], facts: Facts) -> Iterator[str]:
    yield from ('', '## Training', '')
    yield from _steps(about, facts.revision)
    if facts.run is not None and (
        epochs := metric_lines.last(_lines(about, facts.run), 'progress/epochs')
    ):
        yield f'The text was read {epochs:.3g} times.'
    if about.get('tokenizer_hash'):
        yield f'Tokenizer: sha256 `{about["tokenizer_hash"]}`.'
    command = _recorded(facts.run).get('command') or []
    if words := command_line(command):
        yield from ('', '```bash', words, '```')
        if flags := _with_paths(command[1:]):
            named = ', '.join(f'`{flag}`' for flag in flags)
            yield f'Paths of the machine that it was typed on, and so placeholders: {named}.'
    yield from _before(about)


def _steps(about: Mapping[str, Any], revision: str | None = None) -> Iterator[str]:
    """How long a checkpoint was trained, and on what text."""
    config = about.get('config') or {}
    if about.get('converted_from'):
        yield f'Converted from `{last_part(str(about["converted_from"]))}`.'
    steps = about.get('steps')
    length = (config.get('data') or {}).get('row_length')
    if steps and length and 'batch_size' in config:
        tokens = steps * config['batch_size'] * length
        of = f' of {config["total_steps"]:,}' if config.get('total_steps') else ''
        named = f' (revision {revision})' if revision else ''
        yield (
            f'{steps:,}{of} steps{named} of {config["batch_size"]} rows of '
            f'{length} tokens: {tokens:,} tokens.'
        )
    elif length and not about.get('converted_from'):
        yield f'Rows of {length} tokens.'
    for corpus in about.get('corpora') or ():
        name, weight = last_part(str(corpus.get('path'))), corpus.get('weight')
        made_of = f' of `{plain(corpus["source"])}`' if corpus.get('source') else ''
        yield (
            f'Text: corpus `{name}`{made_of}, weight {weight}, fingerprint '
            f'`{corpus.get("fingerprint")}`.'
        )
    if not about.get('corpora') and config.get('job') != 'finetune':
        yield 'The text that it was pre-trained on is not recorded, and so not known.'


def _before(about: Mapping[str, Any]) -> Iterator[str]:
    """What the first parameters were trained on, and theirs, as far as it is recorded."""
    config = about.get('config') or {}
    start = about.get(STARTED_FROM)
    if STARTED_FROM not in about and config.get('init_network') != 'none':
        start = config.get('init_from') and {'name': config['init_from']}  # of an earlier version
    if start is None:
        if STARTED_FROM in about:
            yield from ('', 'Its first parameters were random.')
        return
    yield from ('', f'### Before: `{last_part(str(start["name"]))}`', '')
    before = start.get('config') or {}
    if before.get('job') == 'finetune':
        yield f'Trained on the task {before["task"]["name"]}.'
    elif 'objective' in before:
        size = (before.get('model') or {}).get('size')
        yield f'Pre-trained as {before["objective"]["name"]}, model of the size {size}.'
    yield from _steps(start)
    yield from _before(start)


def _held_out(about: Mapping[str, Any], facts: Facts) -> Iterator[str]:
    lines = [] if facts.run is None else _lines(about, facts.run)
    evaluated = [line for line in lines if any(name.startswith('eval/') for name in line)]
    if evaluated:
        scored = evaluated[-1]
        found = {
            name: value
            for name, value in scored.items()
            if name.startswith('eval/') and isinstance(value, int | float)
        }
        rows = [
            [name, _short(value), metric_table.unit_of(name), _short(_trivial(name, found))]
            for name, value in found.items()
        ]
        yield from ('', f'## Held-out text, after step {scored["step"]:,}', '')
        yield from terminal.markdown(['metric', 'value', 'unit', 'trivial'], rows).splitlines()
        yield from _curve(evaluated)


def _curve(evaluated: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A few evaluations, evenly spread over training, the first and the last among them."""
    names = [name for name in _CURVE if isinstance(evaluated[-1].get(name), int | float)]
    count = min(len(evaluated), _POINTS)
    if count < 2 or not names:
        return
    kept = [evaluated[round(at * (len(evaluated) - 1) / (count - 1))] for at in range(count)]
    rows = [
        [f'{line["step"]:,}', *(_short(line[name]) if name in line else '' for name in names)]
        for line in kept
    ]
    yield from ('', '### Held-out text during training', '')
    yield from terminal.markdown(['step', *names], rows).splitlines()


def _trivial(name: str, found: Mapping[str, float]) -> float | None:
    """What is reached without a model, where that is known."""
    trivial = METRICS[name].trivial if name in METRICS else None
    return found.get(trivial) if isinstance(trivial, str) else trivial


def _short(value: float | None) -> str:
    return '' if value is None else f'{value:.4g}'


def _scores(facts: Facts) -> Iterator[str]:
    own = [facts.run / RESULTS_FILE] if facts.run and (facts.run / RESULTS_FILE).exists() else []
    rows = [row for path in [*facts.results, *own] for row in _result_rows(path)]
    if rows:
        yield from ('', '## Scores', '')
        yield from terminal.markdown(
            ['task', 'metric', 'median', 'mean', 'standard deviation', 'seeds', 'unit', 'trivial'],
            rows,
        ).splitlines()


def _result_rows(path: pathlib.Path) -> Iterator[list[str]]:
    try:
        content = parse_object(path.read_bytes())
        seeds = ', '.join(str(trial['seed']) for trial in content['trials'])
        trivial = content.get('trivial', {}).get('metrics', {})  # of earlier versions: none
        for name, values in content['summary'].items():
            whole, spread = f'finetune/{name}', values['standard_deviation']
            shown = [metric_table.score(whole, values[key]) for key in ('median', 'mean')]
            yield [
                *(content['task'], name, *shown),
                *('one trial' if spread is None else metric_table.score(whole, spread), seeds),
                *(metric_table.shown_unit(whole), metric_table.score(whole, trivial.get(name))),
            ]
    except OSError as error:
        raise CheckpointError(f'cannot read {path} ({error.strerror})') from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f'{path} is no {RESULTS_FILE} of a run ({error!r:.100})') from error


def _limits(found: Checkpoint) -> Iterator[str]:
    yield from ('', '## Limits', '')
    yield f'- Texts of more than {found.model.max_positions} tokens are cut.'
    switches = found.tokenizer.switches() if found.tokenizer else {}
    if switches.get('lower_case'):
        yield '- Upper and lower case are not told apart.'
    yield '- It knows the languages and the subjects of its text only, and repeats its prejudices.'
    if not found.task:
        yield '- It is a start for fine-tuning; its probabilities are not facts about the world.'


def _recorded(run: pathlib.Path | None) -> dict[str, Any]:
    """What the workdir records of itself; nothing where that is damaged."""
    if run is None:
        return {}
    try:
        return parse_object((run / workdir.CONFIG_FILE).read_bytes())
    except (OSError, ValueError):
        return {}


def _lines(about: Mapping[str, Any], run: pathlib.Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl up to the checkpoint."""
    last = about.get('steps', 0)
    return [line for line in metric_lines.read(run) if line['step'] <= last]


def command_line(command: Any) -> str | None:
    """A command that a run records, without folders of its machine; None: it records none."""
    if not (isinstance(command, list) and command and all(isinstance(x, str) for x in command)):
        return None
    module = pathlib.PurePath(command[0]).stem
    return shlex.join(['python', '-m', f'electra_jax.{module}', *map(plain, command[1:])])


def _with_paths(words: Sequence[str]) -> list[str]:
    """The flags whose values are paths; not a recipe of the project, which is there everywhere.

    >>> _with_paths(['--config=configs/own.py', '--workdir', 'runs/a', '--config.seed=1'])
    ['--workdir']
    """
    found, flag = [], ''
    for word in words:
        name, _, value = word.partition('=')
        flag, value = (name, value) if word.startswith('-') else (flag, word)
        if '/' in value and not (flag.strip('-') == 'config' and value.startswith('configs/')):
            found.append(flag)
    return found


def write(folder: pathlib.Path, found: Checkpoint, facts: Facts) -> None:
    """Writes the card of a folder that exists."""
    (folder / FILE).write_text(text(found, facts), encoding='utf-8')
