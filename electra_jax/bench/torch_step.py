"""The PyTorch peer: one ELECTRA pre-training step on transformers' Electra classes.

It is the strongest PyTorch version of the same step that we know how to write with transformers'
model code: embeddings shared by both networks, the masked positions gathered before the generator's
vocabulary head, an exact sample from the generator, both losses, the global-norm clip, the fused
AdamW, SDPA attention, bfloat16 autocast on CUDA, freed memory kept on a CPU (`job.KEEPING`). Rows
are full, so that it needs no attention mask, which is its fastest case. Which of its variants is
the fastest differs between machines, so all that may be are timed in the same run (`VARIANTS`).

It never imports jax, so that neither framework holds the other's threads or memory.
"""

import dataclasses
import functools
import math
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

try:
    import torch
    import transformers
    from torch import Tensor, nn
    from torch.nn import functional
    from transformers.models.electra import modeling_electra as hf
except ImportError as error:
    print(f"the PyTorch peer needs {error.name}: pip install -e '.[parity]'", file=sys.stderr)
    sys.exit(2)

from electra_jax.bench import worker

PAD, CLS, SEP, MASK = 0, 101, 102, 103
ADAM = {'lr': 5e-4, 'betas': (0.9, 0.999), 'eps': 1e-6}
WEIGHT_DECAY = 0.01
DISCRIMINATOR_WEIGHT = 50.0


@dataclasses.dataclass(frozen=True)
class Settings:
    """One benchmark."""

    discriminator: dict[str, Any]  # arguments of transformers.ElectraConfig
    generator: dict[str, Any]  # the same of the other network
    batch_size: int
    row_length: int
    mask_rate: float
    warmup: int = 1
    variant: str = 'eager'
    device: str = 'cpu'
    dtype: str = 'float32'  # 'bfloat16' means autocast


def sample_inverse_cdf(logits_NV: Tensor) -> Tensor:
    """One uniform draw a row, looked up in that row's cumulative sum: V adds, not V draws."""
    cdf_NV = torch.softmax(logits_NV, -1).cumsum(-1)
    draw_N1 = torch.rand_like(cdf_NV[:, :1]) * cdf_NV[:, -1:]
    return (
        torch.searchsorted(cdf_NV, draw_N1, right=True)
        .squeeze(-1)
        .clamp_(max=logits_NV.shape[-1] - 1)
    )


# How the model is run; `torch.compile` takes minutes and needs a C++ compiler on a CPU.
VARIANTS: dict[str, Callable[[nn.Module], Callable[..., Tensor]]] = {
    'eager': lambda model: model,
    'compiled': functools.partial(torch.compile, dynamic=False),
    'cuda_graphs': functools.partial(torch.compile, dynamic=False, mode='reduce-overhead'),
}


class Electra(nn.Module):
    """transformers' two networks and both heads, with the embedding block shared."""

    def __init__(self, settings: Settings):
        super().__init__()
        config, small = (
            transformers.ElectraConfig(**sizes, attn_implementation='sdpa')
            for sizes in (settings.discriminator, settings.generator)
        )
        self.settings = settings
        self.sample = sample_inverse_cdf
        self.discriminator = hf.ElectraForPreTraining(config)
        self.generator = hf.ElectraModel(small)
        self.generator.embeddings = self.discriminator.electra.embeddings
        self.generator_predictions = hf.ElectraGeneratorPredictions(small)
        self.generator_bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, ids_BL: Tensor) -> Tensor:
        """The joint loss of a batch of full rows."""
        positions_BP = self.choose_positions(ids_BL)
        originals_BP = ids_BL.gather(1, positions_BP)
        masked_BL = ids_BL.scatter(1, positions_BP, MASK)
        logits_NV = self.generator_logits(masked_BL, positions_BP)
        mlm_loss = functional.cross_entropy(logits_NV, originals_BP.flatten())
        with torch.no_grad():
            sampled_N = self.sample(logits_NV.detach())
            corrupted_BL = ids_BL.scatter(1, positions_BP, sampled_N.view_as(positions_BP))
            is_fake_BL = (corrupted_BL != ids_BL).float()
        scores_BL = self.discriminator(corrupted_BL).logits
        disc_loss = functional.binary_cross_entropy_with_logits(scores_BL.float(), is_fake_BL)
        return mlm_loss + DISCRIMINATOR_WEIGHT * disc_loss

    def choose_positions(self, ids_BL: Tensor) -> Tensor:
        """ceil(rate * L) distinct positions a row, none of them a special token."""
        special_BL = (ids_BL == CLS) | (ids_BL == SEP) | (ids_BL == MASK) | (ids_BL == PAD)
        scores_BL = torch.rand(ids_BL.shape, device=ids_BL.device).masked_fill(special_BL, -1.0)
        count = math.ceil(self.settings.mask_rate * self.settings.row_length)
        return scores_BL.topk(count, dim=1).indices

    def generator_logits(self, masked_BL: Tensor, positions_BP: Tensor) -> Tensor:
        """Vocabulary logits at the masked positions, [B P, V] in float32."""
        hidden_BLD = self.generator(masked_BL).last_hidden_state
        index_BPD = positions_BP[..., None].expand(-1, -1, hidden_BLD.shape[-1])
        hidden_ND = hidden_BLD.gather(1, index_BPD).flatten(0, 1)
        hidden_NE = self.generator_predictions(hidden_ND)
        table_VE = self.generator.embeddings.word_embeddings.weight
        return functional.linear(hidden_NE, table_VE, self.generator_bias).float()


def make_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """Fused AdamW; vectors (biases, LayerNorm scales) are not decayed."""
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for parameter in model.parameters():
        groups[parameter.ndim > 1].append(parameter)
    return torch.optim.AdamW(
        [
            {'params': groups[True], 'weight_decay': WEIGHT_DECAY},
            {'params': groups[False], 'weight_decay': 0.0},
        ],
        fused=True,
        **ADAM,
    )


def make_batch(settings: Settings) -> Tensor:
    """Full rows of ordinary token ids between [CLS] and [SEP]."""
    shape = (settings.batch_size, settings.row_length)
    vocab_size = settings.discriminator['vocab_size']
    ids_BL = torch.randint(min(1000, vocab_size // 2), vocab_size, shape)
    ids_BL[:, 0], ids_BL[:, -1] = CLS, SEP
    return ids_BL.to(settings.device)


def make_step(settings: Settings) -> Callable[[], Tensor]:
    """Everything one update does, from token ids to new parameters."""
    torch.manual_seed(0)
    model = Electra(settings).to(settings.device).train()
    parameters = list(model.parameters())
    optimizer = make_optimizer(model)
    loss_of = VARIANTS[settings.variant](model)
    ids_BL = make_batch(settings)
    autocast = (
        torch.autocast(torch.device(settings.device).type, torch.bfloat16)
        if settings.dtype == 'bfloat16'
        else nullcontext()
    )

    def step() -> Tensor:
        with autocast:
            loss = loss_of(ids_BL)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return step


def time_steps(settings: Settings, step: Callable[[], Tensor], steps: int) -> dict[str, Any]:
    """Seconds of each step, and the last loss."""
    loss: Tensor | None = None

    def start() -> Callable[[], float]:
        nonlocal loss
        loss = step()
        return finished(settings)

    seconds = worker.time_steps(steps, start)
    value = math.nan if loss is None else loss.item()
    if not math.isfinite(value):
        raise SystemExit(f'torch_step: the loss is {value}')
    return {'step_seconds': seconds, 'loss': value}


def finished(settings: Settings) -> Callable[[], float]:
    """Gives the time when all work so far is done, which a GPU has to be waited for."""
    if settings.device == 'cpu':
        now = time.perf_counter()
        return lambda: now
    event = torch.cuda.Event()
    event.record()

    def wait() -> float:
        event.synchronize()
        return time.perf_counter()

    return wait


def begin(settings: Settings) -> worker.Served:
    """Makes the step, compiles it where the variant does, and warms up."""
    on_cpu = settings.device == 'cpu'
    if not on_cpu:
        torch.set_float32_matmul_precision('high')
    step = make_step(settings)
    began = time.perf_counter()
    time_steps(settings, step, settings.warmup)
    ready = {
        'torch': torch.__version__,
        'transformers': transformers.__version__,
        'threads': torch.get_num_threads(),
        'device': 'cpu' if on_cpu else torch.cuda.get_device_name(),
        'dtype': settings.dtype,
        'warm_up_seconds': time.perf_counter() - began,
    }

    def end() -> dict[str, Any]:
        return {'peak_device_bytes': None if on_cpu else int(torch.cuda.max_memory_allocated())}

    return worker.Served(ready, functools.partial(time_steps, settings, step), end)


if __name__ == '__main__':
    worker.serve(lambda settings: begin(Settings(**settings)))
