"""Compares what a converted model computes with what transformers computes: convert --check."""

import dataclasses
import functools
import itertools
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.core.batch import Batch
from electra_jax.core.errors import CheckpointError, UserError
from electra_jax.interop import files, huggingface, probes
from electra_jax.interop.checkpoint import Checkpoint
from electra_jax.model.bind import Model, Params, bind
from electra_jax.model.task_heads import HeadShape
from electra_jax.runtime import compiled
from electra_jax.tokenizers.api import Tokenizer

# The largest difference that is accepted, as a share of the largest number (1 if that is smaller).
# In float32 on a CPU both sides differ by about 1e-6.
TOLERANCE = 1e-3
_LONGEST = 64  # tokens of a row

# Kind of task -> what its head judges, a `HeadShape.form`.
_FORMS = {'tagging': 'token', 'spans': 'span'}


def against_transformers(folder: pathlib.Path, found: Checkpoint) -> Iterator[str]:
    """Runs each network of a folder of transformers on probe texts, and ours; lines for people.

    Raises:
        UserError: transformers or PyTorch is not installed.
        CheckpointError: a number differs by more than `TOLERANCE`.
    """
    torch, transformers = _libraries()
    compiled.keep()
    tokenizer = found.tokenizer
    assert tokenizer is not None  # `convert` has looked
    batch = _rows(tokenizer, min(_LONGEST, found.model.max_positions))
    real_BL = batch['documents'] > 0
    exact = dataclasses.replace(found.model, compute_dtype='float32', attention='xla')
    model = bind(exact, tokenizer.vocab_size)
    for role, network in files.read(folder).items():
        family, name = huggingface.family_of(network), huggingface.class_of(network)
        head, style = family.head_of(network), huggingface.head_style(network)
        inside = folder / role if (folder / role).is_dir() else folder
        theirs = _outputs(torch, getattr(transformers, name), inside, batch, family.has_types)
        with jax.default_device(jax.devices('cpu')[0]), jax.default_matmul_precision('highest'):
            compute = jax.jit(functools.partial(_ours, model, found.task, head, style))
            ours = compute(dict(found.params), batch)
        worst, same = 0.0, True
        for key, x in theirs.items():
            y = np.asarray(ours[key], np.float32)
            # A class for tags has a dimension for its one output; our vocabulary is padded.
            x = x[..., 0] if x.ndim > y.ndim else x
            y = y[..., : x.shape[-1]]
            if x.ndim > 1 and x.shape[:2] == real_BL.shape:  # one for each token
                x, y = x[real_BL], y[real_BL]
            scale = max(1.0, float(np.abs(x).max()))
            worst = max(worst, float(np.abs(x - y).max()) / scale)
            if x.ndim == 1:  # a score of each token: replaced above 0
                alike = ((x > 0) == (y > 0)) | (np.abs(x) <= TOLERANCE * scale)
            else:
                alike = x.argmax(-1) == y.argmax(-1)
            same &= bool(alike.all())
        line = (
            f'{name}: the largest difference to transformers is {worst:.2g} of the largest number'
        )
        if not worst <= TOLERANCE:  # also NaN
            raise CheckpointError(f'{line}, allowed: {TOLERANCE:g}; nothing was written')
        answers = '; the likeliest answers are the same' if same else ''
        yield f'checked {line}, allowed: {TOLERANCE:g}{answers}'


def _libraries() -> tuple[Any, Any]:
    try:
        import torch
        import transformers
    except ImportError as error:
        raise UserError(
            '--check compares with transformers and PyTorch, which are not installed: type '
            "pip install -e '.[parity]'"
        ) from error
    transformers.utils.logging.disable_progress_bar()
    return torch, transformers


def _rows(tokenizer: Tokenizer, longest: int) -> dict[str, np.ndarray]:
    """Single probes and pairs of them, as both sides read rows."""
    special = tokenizer.special
    encoded = [ids.tolist() for ids in tokenizer.encode_batch(probes.PROBES)]
    encoded = [ids[: longest // 2 - 2] for ids in encoded if ids]
    pairs = [(a, None) for a in encoded] + [*itertools.pairwise(encoded)]
    rows = []
    for a, b in pairs:
        first = [special.cls, *a, special.sep]
        second = [] if b is None else [*b, special.sep]
        rows.append((first + second, [0] * len(first) + [1] * len(second)))
    shape = (len(rows), max(len(ids) for ids, _ in rows))
    tokens_BL, types_BL = np.full(shape, special.pad, np.int32), np.zeros(shape, np.int32)
    documents_BL = np.zeros(shape, np.int32)
    for i, (ids, types) in enumerate(rows):
        tokens_BL[i, : len(ids)], types_BL[i, : len(ids)] = ids, types
        documents_BL[i, : len(ids)] = 1
    return {
        'tokens': tokens_BL,
        'types': types_BL,
        'documents': documents_BL,
        'positions': np.broadcast_to(np.arange(shape[1], dtype=np.int32), shape),
        'allowed': np.ones(shape, np.int32),
    }


def _outputs(
    torch: Any,
    network: Any,
    folder: pathlib.Path,
    batch: dict[str, np.ndarray],
    has_types: bool,
) -> dict[str, np.ndarray]:
    """What transformers' class computes, by our names."""
    module = network.from_pretrained(str(folder), local_files_only=True, dtype=torch.float32)
    names = {'input_ids': 'tokens', 'attention_mask': 'documents'}
    names |= {'token_type_ids': 'types'} if has_types else {}
    given = {theirs: torch.tensor(np.array(batch[ours])).long() for theirs, ours in names.items()}
    with torch.no_grad():
        found = module.eval()(**given)
    if 'start_logits' in found:
        return {'start': found.start_logits.numpy(), 'end': found.end_logits.numpy()}
    first = found.logits if 'logits' in found else found.last_hidden_state
    return {'logits': first.numpy()}


def _ours(
    model: Model, task: str | None, head: str | None, style: str, params: Params, batch: Batch
) -> dict[str, jax.Array]:
    """What our networks compute for the same rows."""
    if head is None:
        return {'logits': model.encode(params, batch, None)}
    if head == 'discriminator_head':
        return {'logits': model.discriminate(params, batch, None)}
    if head == 'generator_head':
        features_BPE, table_VE, bias_V = model.generate(params, batch, None, None)
        return {'logits': jnp.einsum('BPE,VE->BPV', features_BPE, table_VE) + bias_V[None, None]}
    C = len(params['task_head']['output']['bias'])
    form = _FORMS.get(str(task), 'row')
    of_task = model.head(HeadShape(form, style, C, dropout=0.0))
    return dict(of_task.outputs(params, batch, None))
