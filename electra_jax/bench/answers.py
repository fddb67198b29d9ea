"""A fine-tuned model over a split, measured: ``python -m electra_jax.bench.answers``."""

import time
from typing import Any

import numpy as np
from etils import epath

from electra_jax.bench import worker
from electra_jax.bench.step import describe, peak_device_bytes
from electra_jax.config import fields
from electra_jax.config.settings import Config
from electra_jax.finetune import batches, predict
from electra_jax.finetune import split as splits
from electra_jax.finetune.predict import Predictor
from electra_jax.finetune.split import Split
from electra_jax.runtime import distributed
from electra_jax.train import checkpoint


def one_pass(model: Predictor, split: Split) -> np.ndarray:
    """The logits of every row, [rows, C], in their order."""
    outputs = model.answerer.outputs(model.params, split)
    return np.stack([output['logits'] for output in outputs])


def begin(settings: dict[str, Any]) -> worker.Served:
    """Opens the model and makes one pass, which compiles.

    Args:
        settings: 'config': all settings, as typed; 'checkpoint': of a fine-tuned model.
    """
    distributed.initialize()
    asked = fields.build(fields.typed(Config), settings['config'])
    where = epath.Path(settings['checkpoint'])
    model = predict.open_predictor(where, *checkpoint.read_params(where), asked)
    config = model.config
    loaded = next(iter(splits.read_scored(config, model.task).values()))
    split = splits.make_split(config, model.tokenizer, model.task, loaded, labelled=False)
    began = time.perf_counter()
    logits = one_pass(model, split)
    first = time.perf_counter() - began

    def turn(passes: int) -> dict[str, Any]:
        seconds = []
        for _ in range(passes):
            began = time.perf_counter()
            one_pass(model, split)
            seconds.append(time.perf_counter() - began)
        return {'pass_seconds': seconds}

    lengths, size = split.rows.tokens.lengths(), model.answerer.batch_size
    made = batches.in_order(lengths, split.sizes, size)
    return worker.Served(
        {
            **describe(model.answerer.mesh, model.config.model.compute_dtype),
            'first_pass_seconds': first,
            'rows': len(lengths),
            'tokens': int(lengths.sum()),
            'computed_tokens': size * sum(batch.row_length for batch in made),
            'row_lengths': split.sizes,
        },
        turn,
        lambda: {'logits': logits.tolist(), 'peak_device_bytes': peak_device_bytes()},
    )


if __name__ == '__main__':
    worker.serve(begin)
