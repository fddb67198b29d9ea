"""The PyTorch peer in evaluation: a fine-tuned classifier of transformers over a split's rows.

Batches are padded to their longest row (transformers' DataCollatorWithPadding), under
`torch.inference_mode` with SDPA attention. It runs in its own process, as `torch_step` does; each
line of standard input is a number of passes over the split.
"""

import dataclasses
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np

# Says what to install where there is no PyTorch.
from electra_jax.bench import torch_step, worker  # isort: split

import torch
import transformers


@dataclasses.dataclass(frozen=True)
class Settings:
    """One evaluation.

    Attributes:
        model: folder that transformers can open.
        rows: .npz file of 'tokens' (all ids, row after row), 'ends' (of each row) and 'second' (the
            position in each row from which tokens are of type 1).
        order: 'file', as transformers' Trainer evaluates, or 'sorted' by length, which pads less.
        variant: 'eager', or 'compiled' by torch.compile for any length.
        dtype: 'bfloat16' means autocast.
    """

    model: str
    rows: str
    batch_size: int
    order: str
    variant: str
    device: str
    dtype: str


class Rows:
    """Token rows, and the batches that they are evaluated in."""

    def __init__(self, settings: Settings):
        """Reads the rows."""
        with np.load(settings.rows, allow_pickle=False) as content:
            self.tokens, self.ends, self.second = (content[n] for n in ('tokens', 'ends', 'second'))
        self.lengths = np.diff(self.ends, prepend=0)
        order = np.arange(len(self.lengths))
        if settings.order == 'sorted':
            order = np.argsort(self.lengths, kind='stable')
        starts = range(0, len(order), settings.batch_size)
        self.batches = [order[at : at + settings.batch_size] for at in starts]

    def arrays(self, rows: np.ndarray, device: str) -> dict[str, torch.Tensor]:
        """The model's inputs for a batch, padded to its longest row."""
        shape = (len(rows), self.lengths[rows].max())
        ids_BL = np.zeros(shape, np.int64)
        for i, row in enumerate(rows):
            end = self.ends[row]
            ids_BL[i, : self.lengths[row]] = self.tokens[end - self.lengths[row] : end]
        position_L = np.arange(shape[1])
        real_BL = position_L < self.lengths[rows][:, None]
        types_BL = real_BL & (position_L >= self.second[rows][:, None])
        named = {'input_ids': ids_BL, 'attention_mask': real_BL, 'token_type_ids': types_BL}
        return {name: torch.from_numpy(x.astype(np.int64)).to(device) for name, x in named.items()}


def one_pass(model: Callable[..., Any], rows: Rows, settings: Settings) -> np.ndarray:
    """The logits of every row, [rows, C], in their order; batches are collected at the end."""
    autocast = torch.autocast(torch.device(settings.device).type, torch.bfloat16)
    with torch.inference_mode(), autocast if settings.dtype == 'bfloat16' else nullcontext():
        outputs = [
            model(**rows.arrays(batch, settings.device)).logits.float() for batch in rows.batches
        ]
        logits: np.ndarray = torch.cat(outputs).cpu().numpy()
    in_order = np.empty_like(logits)
    in_order[np.concatenate(rows.batches)] = logits
    return in_order


def begin(settings: Settings) -> worker.Served:
    """Opens the model and makes one pass, which compiles where the variant does."""
    torch_step.prepare(settings.device)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        settings.model, attn_implementation='sdpa'
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
    worker.serve(lambda settings: begin(Settings(**settings)))
