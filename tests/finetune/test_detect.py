"""Which pre-trained models say what was replaced."""

import pytest
from etils import epath

from electra_jax.config.schema import Config
from electra_jax.core.errors import CheckpointError
from electra_jax.finetune.detect import open_detector
from electra_jax.tokenizers.wordpiece import WordPiece
from electra_jax.train import workdir
from tests.conftest import tiny_config

TOKENIZER = WordPiece(['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'a'])


@pytest.mark.parametrize(
    ('objective', 'parts'),
    [('mlm', ('discriminator',)), ('electric', ('discriminator_head',)),
     ('teams', ('discriminator_head', 'detector'))],
)  # fmt: skip
def test_a_model_whose_head_says_something_else_is_refused(objective, parts):
    about = {
        'config': workdir.as_json(tiny_config(objective={'name': objective})),
        'tokenizer': TOKENIZER.to_json(),
    }
    with pytest.raises(CheckpointError, match=f"/here was pre-trained as '{objective}', without"):
        open_detector(epath.Path('/here'), {part: {} for part in parts}, about, Config())
