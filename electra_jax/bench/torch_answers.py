"""The peer in evaluation: a fine-tuned classifier of transformers over the rows of a split.

Batches are padded to their longest row (transformers' DataCollatorWithPadding), under
`torch.inference_mode` with SDPA attention. `order` says which rows stand together: 'file', as
transformers' Trainer evaluates, or 'sorted' by length, which pads less. It runs in a process of its
own, as `torch_peer` does. Settings come as one JSON object; each line of standard input is a number
of passes over the split:

    echo 1 | python -m electra_jax.bench.torch_answers '{"model": "DIR", "rows": "rows.npz"}'

`rows.npz` holds 'tokens' (all ids, row after row), 'ends' (of each row) and 'second' (the place in
each row from which tokens are of type 1).
"""

import dataclasses
import functools
import json
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np

from electra_jax.bench import torch_step, worker
from electra_jax.bench.torch_step import torch, transformers


@dataclasses.dataclass(frozen=True)
class Settings:
    """One evaluation."""

    model: str  # folder that transformers can open
    rows: str
    batch_size: int = 32
    order: str = 'file'  # a key of ORDERS
    variant: str = 'eager'  # 'compiled': torch.compile for any length
    device: str = 'cpu'
    dtype: str = 'float32'  # 'bfloat16': autocast
    attention: str = 'sdpa'
    threads: int = 0  # 0: what PyTorch chooses


ORDERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    'file': lambda lengths: np.arange(len(lengths)),
    'sorted': lambda lengths: np.argsort(lengths, kind='stable'),
}


class Rows:
    """Token rows, and the batches that they are seen in."""

    def __init__(self, settings: Settings):
        """Reads the rows."""
        with np.load(settings.rows, allow_pickle=False) as content:
            self.tokens, self.ends, self.second = (content[n] for n in ('tokens', 'ends', 'second'))
        self.lengths = np.diff(self.ends, prepend=0)
        order = ORDERS[settings.order](self.lengths)
        starts = range(0, len(order), settings.batch_size)
        self.batches = [order[at : at + settings.batch_size] for at in starts]

    def arrays(self, rows: np.ndarray, device: str) -> dict[str, torch.Tensor]:
        """A batch as the model wants it, padded to its longest row."""
        shape = (len(rows), self.lengths[rows].max())
        ids_BL = np.zeros(shape, np.int64)
        for slot, row in enumerate(rows):
            end = self.ends[row]
            ids_BL[slot, : self.lengths[row]] = self.tokens[end - self.lengths[row] : end]
        place_L = np.arange(shape[1])
        real_BL = place_L < self.lengths[rows][:, None]
        types_BL = real_BL & (place_L >= self.second[rows][:, None])
        named = {'input_ids': ids_BL, 'attention_mask': real_BL, 'token_type_ids': types_BL}
        return {name: torch.from_numpy(x.astype(np.int64)).to(device) for name, x in named.items()}


def one_pass(model: Callable, rows: Rows, settings: Settings) -> np.ndarray:
    """The logits of every row, [rows, C], in their order; batches are collected at the end."""
    autocast = torch.autocast(torch.device(settings.device).type, torch.bfloat16)
    with torch.inference_mode(), autocast if settings.dtype == 'bfloat16' else nullcontext():
        found = [
            model(**rows.arrays(batch, settings.device)).logits.float() for batch in rows.batches
        ]
        logits = torch.cat(found).cpu().numpy()
    in_order = np.empty_like(logits)
    in_order[np.concatenate(rows.batches)] = logits
    return in_order


def begin(settings: Settings) -> worker.Served:
    """Opens the model and makes one pass, which compiles where the variant does."""
    torch_step.prepare(settings.threads, settings.device)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        settings.model, attn_implementation=settings.attention
    )
    model = model.to(settings.device).eval()
    if settings.variant == 'compiled':
        model = torch.compile(model, dynamic=True)
    rows = Rows(settings)
    began = time.perf_counter()
    logits = one_pass(model, rows, settings)
    first = time.perf_counter() - began

    def turn(passes: int) -> dict[str, Any]:
        seconds = []
        for _ in range(passes):
            began = time.perf_counter()
            one_pass(model, rows, settings)
            seconds.append(time.perf_counter() - began)
        return {'pass_seconds': seconds}

    padded = sum(len(batch) * int(rows.lengths[batch].max()) for batch in rows.batches)
    return worker.Served(
        {
            **torch_step.about(settings.device),
            'first_pass_seconds': first,
            'computed_tokens': padded,
        },
        turn,
        lambda: {
            'logits': logits.tolist(),
            'peak_device_bytes': torch_step.peak_device_bytes(settings.device),
        },
    )


if __name__ == '__main__':
    worker.serve(functools.partial(begin, Settings(**json.loads(sys.argv[1]))))
