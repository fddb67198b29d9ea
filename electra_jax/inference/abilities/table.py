"""What a checkpoint can do without fine-tuning. To add an ability: its file, and its row here."""

from electra_jax.inference.abilities.detect import DETECT
from electra_jax.inference.abilities.embed import EMBED
from electra_jax.inference.abilities.fill_mask import FILL_MASK
from electra_jax.inference.abilities.pairs import PAIRS
from electra_jax.inference.abilities.rerank import RERANK
from electra_jax.inference.abilities.score import SCORE
from electra_jax.inference.abilities.similarity import RETRIEVE, SIMILARITY
from electra_jax.inference.abilities.zero_shot import ZERO_SHOT
from electra_jax.inference.ability import Ability

# Values of `predict --task`.
ABILITIES: dict[str, Ability] = {
    'detect': DETECT,
    'embed': EMBED,
    'fill_mask': FILL_MASK,
    'similarity': SIMILARITY,
    'retrieve': RETRIEVE,
    'score': SCORE,
    'pairs': PAIRS,
    'rerank': RERANK,
    'zero_shot': ZERO_SHOT,
}
