"""A trained model that answers new text: a fine-tuned one, or a pre-trained discriminator."""

import contextlib
import dataclasses
import json
import math
import pathlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any, NamedTuple

import jax
import numpy as np
from etils import epath
from jax.sharding import Mesh

from electra_jax.config.fields import Settings
from electra_jax.config.recipe import recipe
from electra_jax.config.resolve import resolve
from electra_jax.config.settings import Config
from electra_jax.core import files, trees
from electra_jax.core.complaints import Complaints, counted
from electra_jax.core.errors import CheckpointError, DataError
from electra_jax.finetune import program, report
from electra_jax.finetune import split as splits
from electra_jax.finetune import task as tasks
from electra_jax.finetune.features import Rows
from electra_jax.finetune.files import lines, predict_input
from electra_jax.finetune.files.tables import Columns
from electra_jax.finetune.kinds.kind import Batch, Predictions, RowOutputs, Task, json_number
from electra_jax.finetune.kinds.table import KINDS
from electra_jax.finetune.program import Answerer
from electra_jax.finetune.results import TRIAL_FILE
from electra_jax.finetune.split import Loaded
from electra_jax.init_from import Start, check_complete, checked_start
from electra_jax.model.bind import Model, Params, bind
from electra_jax.objectives.table import OBJECTIVES
from electra_jax.parallel import mesh as meshes
from electra_jax.parallel import rules
from electra_jax.runtime import terminal
from electra_jax.runtime.terminal import Progress
from electra_jax.tokenizers.api import Tokenizer
from electra_jax.tokenizers.unknown import Unknown
from electra_jax.train import checkpoint, workdir

_DISCRIMINATOR = ('embeddings', 'embedding_delta', 'discriminator', 'discriminator_head')
# Examples, their rows, outputs for each row -> a JSON object for each example.
ToJson = Callable[[Sequence[Any], Rows, RowOutputs], Iterator[dict[str, Any]]]
_AT_ONCE = 1024  # examples that are tokenized together


class Predictor(NamedTuple):
    """A trained model on the devices."""

    params: trees.Tree  # on the mesh
    task: Task  # that it was fine-tuned on; of a pre-trained model, a task of single texts
    tokenizer: Tokenizer
    config: Config  # that it was trained with, for the present devices
    answerer: Answerer
    to_json: ToJson

    def answer(
        self, examples: Sequence[Any], complaints: Complaints, unknown: Unknown | None = None
    ) -> Iterator[dict[str, Any]]:
        """A JSON object for each example, as predictions/*.jsonl have them.

        Examples that are too long for a row are counted among the complaints, and what the
        vocabulary lacks is added to `unknown`.
        """
        for at in range(0, len(examples), _AT_ONCE):
            some = list(examples[at : at + _AT_ONCE])
            loaded = Loaded(some, self.task, complaints, '')
            split = splits.make_split(self.config, self.tokenizer, loaded)
            if unknown is not None:
                unknown.merge(split.unknown)
            outputs = self.answerer.outputs(self.params, split)
            yield from self.to_json(some, split.rows, outputs)


# ---------------------------------------------------------------------------------------------
# Opening


def trial_folders(folder: epath.Path) -> list[epath.Path]:
    """The folders with a fine-tuned model: `folder` itself, or its trials in their order."""
    inside = folder / workdir.TRIALS
    if not inside.exists():
        return [folder]
    numbers = sorted(int(child.name) for child in inside.iterdir() if child.name.isdigit())
    folders = [inside / str(k) for k in numbers if workdir.has_checkpoint(inside / str(k))]
    if not folders:
        raise CheckpointError(
            f'no trial in {inside} has parameters: none is finished, or they were not kept '
            '(--config.task.save)'
        )
    return folders


def best_folder(folder: epath.Path) -> epath.Path:
    """The trial with the best headline score, the first of equal ones."""
    folders = trial_folders(folder)

    def score(one: epath.Path) -> float:
        path = one / TRIAL_FILE
        if not path.exists():
            return -math.inf
        try:
            content = files.parse_object(path.read_text())
            return float(content['metrics'][content['headline']])
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f'{path} is damaged ({error!r:.100}): name one trial, such as {folders[0]}'
            ) from error

    return folders[0] if len(folders) == 1 else max(folders, key=score)


def open_predictor(
    where: epath.Path, params: trees.Tree, about: Mapping[str, Any], settings: Settings
) -> Predictor:
    """A checkpoint's parameters (NumPy) with the functions to use them.

    Of the settings, mesh, batch size and ways of computing are used.
    """
    start = checked_start(settings, str(where), params, about)
    config = resolve(settings, jax.devices()[0].platform, start.stored)
    is_tuned = 'task' in about
    if is_tuned:
        task = tasks.from_json(about['task'], str(where))
    else:
        task = tasks.of_kind('classification', config.model.max_positions)  # single texts
    data = dataclasses.replace(config.data, row_length=task.row_length)
    config = dataclasses.replace(config, data=data)
    mesh = meshes.make_mesh(config.mesh)
    meshes.check_batch(config, mesh, jax.process_count())
    if is_tuned:
        used, answerer, to_json = _fine_tuned(start, config, task, mesh)
    else:
        used, answerer, to_json = _detector(start, config, mesh)
    return Predictor(put(mesh, used), task, start.tokenizer, config, answerer, to_json)


def put(mesh: Mesh, params: trees.Tree) -> trees.Tree:
    """NumPy arrays of parameters, laid out over the mesh."""
    return jax.device_put(params, rules.state_shardings(params, mesh))


def _fine_tuned(
    start: Start, config: Config, task: Task, mesh: Mesh
) -> tuple[trees.Tree, Answerer, ToJson]:
    kind, size = KINDS[task.kind], start.tokenizer.vocab_size
    head = bind(config.model, size).head(kind.head(task))
    check_complete(str(start.where), start.params, lambda key: {'task_head': head.init(key)})

    def to_json(
        examples: Sequence[Any], rows: Rows, outputs: RowOutputs
    ) -> Iterator[dict[str, Any]]:
        values = kind.answers(task, examples, rows, outputs)
        return kind.to_json(Predictions(task, examples, values))

    return start.params, program.task_answerer(config, size, task, mesh), to_json


def _detector(start: Start, config: Config, mesh: Mesh) -> tuple[trees.Tree, Answerer, ToJson]:
    """A pre-trained model, which gives the probability that each token was replaced."""
    objective = start.about['config']['objective']['name']
    other_head = objective in OBJECTIVES and not OBJECTIVES[objective].detects
    if 'discriminator_head' not in start.params or other_head:
        raise CheckpointError(
            f'{start.where} was pre-trained as {objective!r}, without a head that gives the '
            'probability that a token was replaced, so there is nothing that it could answer: '
            'fine-tune it first (configs/finetune/)'
        )
    tokenizer, size = start.tokenizer, start.tokenizer.vocab_size
    init = bind(config.model, size).init
    check_complete(str(start.where), start.params, lambda key: init(key, ('discriminator',)))

    def detect(model: Model) -> Callable[[Params, Batch], dict[str, jax.Array]]:
        return lambda params, batch: {
            'replaced': jax.nn.sigmoid(model.discriminate(params, batch, None))
        }

    def to_json(
        examples: Sequence[Any], rows: Rows, outputs: RowOutputs
    ) -> Iterator[dict[str, Any]]:
        for row, (example, output) in enumerate(zip(examples, outputs, strict=True)):
            ids = rows.tokens[row][1:-1]
            replaced = np.asarray(output['replaced'])[1 : 1 + len(ids)]
            yield {
                'id': example.id,
                'tokens': tokenizer.tokens(ids.tolist()),
                'replaced': list(map(json_number, replaced)),
            }

    used = {name: some for name, some in start.params.items() if name in _DISCRIMINATOR}
    return used, program.answerer(config, size, mesh, detect), to_json


# ---------------------------------------------------------------------------------------------
# Files


class _ReportedRows(Complaints):
    """Rows that cannot be used are left out, and each is reported at once."""

    refused = 0

    def refuse(self, reason: str, where: str, problem: str) -> None:
        """Leaves a row out, and reports it."""
        self.refused += 1
        terminal.ERR.print(f'{where}: {predict_input.in_words_of_predict(problem)}')


def answer_file(
    checkpoint_folder: str,
    input_name: str,
    output_name: str,
    batch_size: int,
    form: str,
    columns: Columns,
) -> None:
    """Writes a line of JSON for each example of a file, by the best trial if there are several.

    '-' names standard input and output; `form` is one of `predict_input.FORMATS`, or 'auto': by the
    ending of the input's name. `columns` are those that are not called as in training.
    """
    folder = files.absolute(checkpoint_folder)
    if not folder.exists():
        raise CheckpointError(f'--checkpoint is {folder}, but there is no such folder')
    path = lines.STANDARD_INPUT if input_name == '-' else pathlib.Path(input_name)
    if input_name != '-' and not path.is_file():
        raise DataError(f'--input is {input_name!r}, but there is no such file')
    is_typed = form != 'auto'
    form = form if is_typed else predict_input.format_of(path)
    where = best_folder(folder)
    settings = recipe({'job': 'evaluate', 'batch_size': batch_size})
    model = open_predictor(where, *checkpoint.read_params(where), settings)
    if form == 'lines' and not is_typed:
        predict_input.check_lines(model.task, path, columns)
    complaints = _ReportedRows('data.on_bad_row', 'skip')
    with _output_file(output_name) as out:
        examples = predict_input.read(model.task, path, form, columns, complaints)
        # No bar where the answers go to the same terminal.
        same = out is sys.stdout and sys.stdout.isatty()
        quiet = same or not terminal.ERR.is_terminal
        number, unknown = len(examples), Unknown()
        with Progress('predicting', number, console=terminal.ERR, quiet=quiet) as progress:
            for row in model.answer(examples, complaints, unknown):
                out.write(json.dumps(row, ensure_ascii=False) + '\n')
                progress.advance()
    bad = complaints.refused
    left_out = f', {counted(bad, "bad rows")} named above' if bad else ''
    unread = report.unknown_line(str(path), unknown)
    reports = [*complaints.lines(), *([unread] if unread else [])]
    answered = f'{counted(number, "rows")} ({form}) answered by {where}{left_out}'
    terminal.ERR.print('\n'.join([*reports, answered]))


@contextlib.contextmanager
def _output_file(name: str) -> Iterator[IO[str]]:
    """Standard output, or a file that is there only when it is complete."""
    if name == '-':
        yield sys.stdout
        return
    path = pathlib.Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.placed(path) as fresh, fresh.open('w', encoding='utf-8') as file:
        yield file
