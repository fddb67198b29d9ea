"""What sentence-transformers reads next to a folder of transformers: modules and their settings."""

import json
import pathlib
from typing import Any

from electra_jax.config.settings import ModelConfig

_POOLING = '1_Pooling'


def write(folder: pathlib.Path, model: ModelConfig) -> None:
    """Adds the files to a folder that holds an encoder and its tokenizer."""
    kinds = {'': 'Transformer', _POOLING: 'Pooling'}
    modules = [
        {
            'idx': number,
            'name': str(number),
            'path': path,
            'type': f'sentence_transformers.models.{kind}',
        }
        for number, (path, kind) in enumerate(kinds.items())
    ]
    (folder / _POOLING).mkdir()
    _write(folder / 'modules.json', modules)
    _write(
        folder / _POOLING / 'config.json',
        {
            'word_embedding_dimension': model.hidden_size,
            'pooling_mode_cls_token': False,
            'pooling_mode_mean_tokens': True,
            'pooling_mode_max_tokens': False,
            'include_prompt': True,
        },
    )
    _write(
        folder / 'sentence_bert_config.json',
        {'max_seq_length': model.max_positions, 'do_lower_case': False},
    )
    _write(folder / 'config_sentence_transformers.json', {'similarity_fn_name': 'cosine'})


def _write(path: pathlib.Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + '\n')
