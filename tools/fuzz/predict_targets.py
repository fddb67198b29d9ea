"""`predict` whole: damaged input through reader, tokenizer and a model, to the lines it writes."""

import dataclasses
import json
import math
import pathlib
import random
from typing import Any

import jax

from electra_jax.config.recipe import recipe
from electra_jax.core.complaints import Complaints
from electra_jax.finetune import task as tasks
from electra_jax.finetune.kinds.table import KINDS
from electra_jax.inference.ability import Notes
from electra_jax.inference.loaded import LoadedModel
from electra_jax.inference.opened import Found
from electra_jax.model.bind import bind
from electra_jax.tokenizers.unknown import Unknown
from tests.support import fakes
from tools.fuzz.checkpoint_targets import small_model
from tools.fuzz.target import Run, Target, check
from tools.fuzz.task_targets import read_incoming, trained_tasks


def _models() -> list[Any]:
    model = small_model(max_positions=24)
    tokenizer = fakes.tokenizer()
    networks = ('generator', 'discriminator')
    params = bind(model, tokenizer.vocab_size).init(jax.random.key(0), networks)
    made = []
    for task in (*trained_tasks(), None):
        about = {
            'config': {**dataclasses.asdict(recipe({})), 'model': dataclasses.asdict(model)},
            'tokenizer': tokenizer.to_json(),
        }
        own = dict(params)
        if task is not None:
            about['task'] = tasks.to_json(task)
            head = bind(model, tokenizer.vocab_size).head(KINDS[task.kind].head(task))
            own['task_head'] = head.init(jax.random.key(1))
        made.append(LoadedModel(Found('model', own, about, []), batch_size=8))
    return made


def _finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    if isinstance(value, list):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _make_predict(folder: pathlib.Path) -> Run:
    models = _models()

    def run(rng: random.Random) -> None:
        work = rng.choice(models).work()
        bad = Complaints('data.on_bad_row', 'skip')
        examples = read_incoming(rng, folder, work.task, bad)[:16]
        answers = list(work.answer(examples, Notes(bad, Unknown())))
        rows = list(map(work.to_json, examples, answers))
        check(len(rows) == len(examples), f'{len(examples)} examples, {len(rows)} answers')
        for example, row in zip(examples, rows, strict=True):
            json.dumps(row, ensure_ascii=False).encode()
            check(row['id'] == example.id, f'{example.id!r} is answered as {row["id"]!r}')
            check(_finite(row), f'{row} holds a number that is not finite')

    return run


TARGETS = (Target('predict', _make_predict, r'input|<stdin>|--(columns|format)'),)
