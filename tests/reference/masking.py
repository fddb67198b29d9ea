"""Masking, sampling and fake data of the reference, from draws that are given.

Nothing here is differentiated: what is written into a text is a number without a gradient.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from tests.reference.settings import Settings

Batch = Mapping[str, np.ndarray]  # 'input_ids', 'input_mask', 'segment_ids': integers [B, L]


@dataclasses.dataclass(frozen=True)
class Draws:
    """The random numbers of one step."""

    positions_BP: np.ndarray  # candidates, drawn independently: the same one may come twice
    keep_BP: np.ndarray  # bool, True leaves the token in the generator's input
    uniforms_BPV: np.ndarray  # in (0, 1), for the generator's samples

    def rows(self, rows: slice) -> 'Draws':
        """The draws of some of the batch's rows."""
        return Draws(self.positions_BP[rows], self.keep_BP[rows], self.uniforms_BPV[rows])


@dataclasses.dataclass(frozen=True)
class Masked:
    """What is asked of the generator."""

    positions_BP: np.ndarray  # 0 in the slots that are not used
    weights_BP: np.ndarray  # 1.0 in the slots that are used, duplicates included
    targets_BP: np.ndarray  # the original tokens
    input_ids_BL: np.ndarray  # the text with [MASK] in it


def max_predictions_per_seq(settings: Settings, row_length: int) -> int:
    """P, slots of a row.

    >>> [max_predictions_per_seq(Settings(mask_prob=p), n) for p, n in ((.15, 128), (.25, 512))]
    [19, 130]
    """
    return int((settings.mask_prob + 0.005) * row_length)


def candidates(settings: Settings, batch: Batch) -> np.ndarray:
    """bool [B, L]: real tokens that may be masked."""
    special = (settings.cls_id, settings.sep_id, settings.mask_id)
    return (batch['input_mask'] == 1) & ~np.isin(batch['input_ids'], special)


def num_predictions(settings: Settings, batch: Batch) -> np.ndarray:
    """n of each row [B]: mask_prob of all its real tokens, [CLS] and [SEP] counted in.

    The product is float32 and halves go to the even side, as TensorFlow has it.
    """
    P = max_predictions_per_seq(settings, batch['input_ids'].shape[1])
    num_tokens_B = batch['input_mask'].sum(axis=1).astype(np.float32)
    return np.clip(np.rint(num_tokens_B * np.float32(settings.mask_prob)).astype(int), 1, P)


def mask(settings: Settings, batch: Batch, draws: Draws) -> Masked:
    """Uses the first n slots of each row and writes [MASK] where a slot does not keep its token.

    A position drawn twice is masked if either draw masks it.
    """
    B, P = draws.positions_BP.shape
    used_BP = np.arange(P) < num_predictions(settings, batch)[:, None]
    positions_BP = np.where(used_BP, draws.positions_BP, 0)
    replaced_BP = np.where(draws.keep_BP, 0, positions_BP)
    mask_ids_BP = np.full((B, P), settings.mask_id)
    input_ids_BL, _ = write(batch['input_ids'], replaced_BP, mask_ids_BP)
    targets_BP = np.take_along_axis(batch['input_ids'], positions_BP, axis=1)
    return Masked(positions_BP, used_BP.astype(np.float64), targets_BP, input_ids_BL)


def write(
    ids_BL: np.ndarray, positions_BP: np.ndarray, new_BP: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The reference's scatter_update: the text with `new_BP` in it, and where it was written.

    Nothing is ever written at position 0, which is how a slot is left out. Where several slots
    write to one position, the result is their sum divided by their number, rounded down.

    >>> text = np.array([[5, 6, 7, 8]])
    >>> written, where = write(text, np.array([[2, 2, 3, 0]]), np.array([[10, 15, 9, 9]]))
    >>> written.tolist(), where.tolist()
    ([[5, 6, 12, 9]], [[False, False, True, True]])
    """
    sums_BL, counts_BL = np.zeros_like(ids_BL), np.zeros_like(ids_BL)
    rows_B1 = np.arange(len(ids_BL))[:, None]
    np.add.at(sums_BL, (rows_B1, positions_BP), new_BP)
    np.add.at(counts_BL, (rows_B1, positions_BP), 1)
    counts_BL[:, 0] = 0
    written_BL = counts_BL > 0
    return np.where(written_BL, sums_BL // np.maximum(counts_BL, 1), ids_BL), written_BL


def sample(
    settings: Settings, logits_BPV: np.ndarray, targets_BP: np.ndarray, uniforms_BPV: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A token for each slot [B, P], and how far it was ahead of the second best [B, P].

    argmax(softmax(logits / T + g)); the softmax changes no order, so it is left out here.
    """
    scores_BPV = logits_BPV / settings.temperature
    if settings.disallow_correct:
        scores_BPV = scores_BPV - 1000.0 * (
            np.arange(logits_BPV.shape[-1]) == targets_BP[..., None]
        )
    scores_BPV = scores_BPV - np.log(-np.log(uniforms_BPV + 1e-9) + 1e-9)
    best_two = np.sort(scores_BPV, axis=-1)[..., -2:]
    return scores_BPV.argmax(axis=-1), best_two[..., 1] - best_two[..., 0]


@dataclasses.dataclass(frozen=True)
class FakeData:
    """The discriminator's input and what it should predict."""

    input_ids_BL: np.ndarray
    labels_BL: np.ndarray  # bool


def fake_data(settings: Settings, batch: Batch, masked: Masked, sampled_BP: np.ndarray) -> FakeData:
    """The ORIGINAL text with the samples at every used slot, masked there or not.

    A sample that hits the original token counts as real, but for Electric, whose label is that
    the position was written at all.
    """
    fake_BL, written_BL = write(batch['input_ids'], masked.positions_BP, sampled_BP)
    if settings.electra_objective:
        written_BL = written_BL & (fake_BL != batch['input_ids'])
    return FakeData(fake_BL, written_BL)
