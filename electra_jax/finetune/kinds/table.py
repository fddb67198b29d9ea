"""The kinds of tasks by name. To add one: its file, and its row here."""

from electra_jax.finetune.kinds.contrastive import CONTRASTIVE
from electra_jax.finetune.kinds.extractive import EXTRACTIVE
from electra_jax.finetune.kinds.image_retrieval import IMAGE_RETRIEVAL
from electra_jax.finetune.kinds.images import IMAGE_CLASSIFICATION
from electra_jax.finetune.kinds.kind import Kind
from electra_jax.finetune.kinds.multi_label import MULTI_LABEL
from electra_jax.finetune.kinds.seq2seq import SEQ2SEQ
from electra_jax.finetune.kinds.spans import SPANS
from electra_jax.finetune.kinds.tagging import TAGGING
from electra_jax.finetune.kinds.text import CLASSIFICATION, REGRESSION

KINDS: dict[str, Kind] = {
    'classification': CLASSIFICATION,
    'multi_label': MULTI_LABEL,
    'regression': REGRESSION,
    'tagging': TAGGING,
    'spans': SPANS,
    'seq2seq': SEQ2SEQ,
    'contrastive': CONTRASTIVE,
    'image_classification': IMAGE_CLASSIFICATION,
    'image_retrieval': IMAGE_RETRIEVAL,
    'extractive': EXTRACTIVE,
}
