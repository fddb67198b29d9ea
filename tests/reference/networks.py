"""Embeddings, encoder and heads of the reference's networks, with their pull-backs."""

from collections.abc import Callable

import numpy as np

from tests.reference.blocks import (
    Pull,
    Variables,
    add,
    dense,
    gelu,
    layer,
    layer_norm,
)
from tests.reference.masking import Batch
from tests.reference.settings import Settings


def embeddings(
    variables: Variables, scope: str, input_ids_BL: np.ndarray, segment_ids_BL: np.ndarray
) -> tuple[np.ndarray, Callable[[Variables, np.ndarray], None]]:
    """norm(word + type + position), [B, L, E]."""
    inner, L = f'{scope}/embeddings', input_ids_BL.shape[1]
    names = {
        'word_embeddings': input_ids_BL,
        'token_type_embeddings': segment_ids_BL,
        'position_embeddings': np.broadcast_to(np.arange(L), input_ids_BL.shape),
    }
    total_BLE = sum(variables[f'{inner}/{name}'][rows_BL] for name, rows_BL in names.items())
    x_BLE, pull_norm = layer_norm(variables, f'{inner}/LayerNorm', total_BLE)

    def pull(gradients: Variables, d_x_BLE: np.ndarray) -> None:
        d_total_BLE = pull_norm(gradients, d_x_BLE)
        for name, rows_BL in names.items():
            d_table = np.zeros_like(variables[f'{inner}/{name}'])
            np.add.at(d_table, rows_BL, d_total_BLE)
            add(gradients, f'{inner}/{name}', d_table)

    return x_BLE, pull


def visible(batch: Batch, direction: str | None) -> np.ndarray:
    """[B, L, S], 1.0 where a query may see a key: no padding, and of a causal tower ('ltr' or
    'rtl') only what was read before, the query itself included.
    """
    L = batch['input_ids'].shape[1]
    causal = {
        None: np.ones((L, L)),
        'ltr': np.tril(np.ones((L, L))),
        'rtl': np.triu(np.ones((L, L))),
    }
    return batch['input_mask'][:, None, :] * causal[direction]


def transformer(
    settings: Settings,
    variables: Variables,
    scope: str,
    embeddings_scope: str,
    batch: Batch,
    input_ids_BL: np.ndarray,
    direction: str | None = None,
) -> tuple[np.ndarray, Callable[[Variables, np.ndarray], None]]:
    """Last hidden states [B, L, D] of the network under `scope`, reading `input_ids_BL`."""
    x, pull_embeddings = embeddings(variables, embeddings_scope, input_ids_BL, batch['segment_ids'])
    pulls: list[Pull] = []
    if f'{scope}/embeddings_project/kernel' in variables:
        x, pull_project = dense(variables, f'{scope}/embeddings_project', x)
        pulls.append(pull_project)
    num_layers, _, num_heads = settings.network(scope)
    allowed_BLS = visible(batch, direction)
    for number in range(num_layers):
        x, pull_layer = layer(
            variables, f'{scope}/encoder/layer_{number}', x, allowed_BLS, num_heads
        )
        pulls.append(pull_layer)

    def pull(gradients: Variables, d_x_BLD: np.ndarray) -> None:
        for pull_part in reversed(pulls):
            d_x_BLD = pull_part(gradients, d_x_BLD)
        pull_embeddings(gradients, d_x_BLD)

    return x, pull


def token_head(
    variables: Variables, scope: str, embeddings_scope: str, hidden_XD: np.ndarray
) -> tuple[np.ndarray, Pull]:
    """Logits over the vocabulary: dense to the tables' width, GELU, norm, word table, bias."""
    table = f'{embeddings_scope}/embeddings/word_embeddings'
    y, pull_dense = dense(variables, f'{scope}/dense', hidden_XD)
    y, pull_gelu = gelu(y)
    y_XE, pull_norm = layer_norm(variables, f'{scope}/LayerNorm', y)
    logits_XV = y_XE @ variables[table].T + variables[f'{scope}/output_bias']

    def pull(gradients: Variables, d_logits: np.ndarray) -> np.ndarray:
        rows_d = d_logits.reshape(-1, d_logits.shape[-1])
        add(gradients, f'{scope}/output_bias', rows_d.sum(axis=0))
        add(gradients, table, rows_d.T @ y_XE.reshape(len(rows_d), -1))
        d_y = pull_gelu(gradients, pull_norm(gradients, d_logits @ variables[table]))
        return pull_dense(gradients, d_y)

    return logits_XV, pull


def binary_head(variables: Variables, hidden_BLD: np.ndarray) -> tuple[np.ndarray, Pull]:
    """One logit a token [B, L]: dense, GELU, dense_1."""
    scope = 'discriminator_predictions'
    y, pull_dense = dense(variables, f'{scope}/dense', hidden_BLD)
    y, pull_gelu = gelu(y)
    logits_BL1, pull_output = dense(variables, f'{scope}/dense_1', y)

    def pull(gradients: Variables, d_logits_BL: np.ndarray) -> np.ndarray:
        d_y = pull_gelu(gradients, pull_output(gradients, d_logits_BL[..., None]))
        return pull_dense(gradients, d_y)

    return logits_BL1[..., 0], pull


def gather(x_BLD: np.ndarray, positions_BP: np.ndarray) -> tuple[np.ndarray, Callable]:
    """The vectors at the masked positions [B, P, D]; its pull-back adds up duplicates."""
    rows_B1 = np.arange(len(x_BLD))[:, None]

    def pull(d_y_BPD: np.ndarray) -> np.ndarray:
        d_x_BLD = np.zeros_like(x_BLD)
        np.add.at(d_x_BLD, (rows_B1, positions_BP), d_y_BPD)
        return d_x_BLD

    return x_BLD[rows_B1, positions_BP], pull
