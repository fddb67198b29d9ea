"""What a batch is: arrays by name, all of which lead with B, its rows."""

from collections.abc import Mapping

import jax

# What the networks read of a text, int32 [B, L] each.
TEXT_ARRAYS = ('tokens', 'documents', 'positions', 'types')
# These; of a model of images perhaps 'pixels' (`model.images`); of a task what its head reads.
Batch = Mapping[str, jax.Array]
