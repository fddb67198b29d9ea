"""The full names of settings that were typed in part or wrongly."""

import difflib

from electra_jax.config import fields
from electra_jax.config.settings import Config

# What other programs call a setting -> its name here.
_ELSEWHERE = {
    'text': 'task.columns.text_a',
    'lr': 'optimizer.learning_rate',
    'wd': 'optimizer.weight_decay',
    'warmup': 'optimizer.warmup_steps',
    'beta1': 'optimizer.b1',
    'beta2': 'optimizer.b2',
    'adam_epsilon': 'optimizer.epsilon',
    'max_grad_norm': 'optimizer.clip_norm',
    'gradient_accumulation_steps': 'optimizer.microbatches',
    'steps': 'total_steps',
    'max_steps': 'total_steps',
    'num_train_steps': 'total_steps',
    'num_epochs': 'task.epochs',
    'num_train_epochs': 'task.epochs',
    'bs': 'batch_size',
    'train_batch_size': 'batch_size',
    'max_length': 'data.row_length',
    'max_seq_length': 'data.row_length',
    'seq_len': 'data.row_length',
    'vocab': 'data.tokenizer.path',
    'layers': 'model.num_layers',
    'heads': 'model.num_heads',
    'dim': 'model.hidden_size',
    'checkpoint': 'init_from',
    'task': 'task.name',
    'model': 'model.size',
    'tokenizer': 'data.tokenizer.kind',
    'save_steps': 'checkpoint.every_steps',
    'eval_steps': 'eval.every_steps',
    'logging_steps': 'log.every_steps',
}
_MOST = 3


def suggestions(typed: str) -> list[str]:
    """Full names that may be meant, the likeliest first, at most three; `typed` is none itself.

    >>> suggestions('vocab_size'), suggestions('optimizer.lr')
    (['data.tokenizer.vocab_size'], ['optimizer.learning_rate'])
    >>> suggestions('optimizer')
    []
    """
    known = list(fields.leaves(Config))
    last = typed.rpartition('.')[2].lower().replace('-', '_')
    by_last: dict[str, list[str]] = {}
    for name in known:
        by_last.setdefault(name.rpartition('.')[2], []).append(name)
    if last in by_last:
        return difflib.get_close_matches(typed, by_last[last], n=_MOST, cutoff=0)
    if last in _ELSEWHERE:
        return [_ELSEWHERE[last]]
    if any(name.startswith(f'{typed}.') for name in known):
        return []  # a group of settings
    if close := difflib.get_close_matches(typed, known, n=1, cutoff=0.8):
        return close
    # The last part alone, spelt wrongly, wherever it belongs.
    close = difflib.get_close_matches(last, by_last, n=2, cutoff=0.7)
    if close:
        return [name for one in close for name in by_last[one]][:_MOST]
    return difflib.get_close_matches(typed, known, n=1, cutoff=0.6)


def hint(typed: str, prefix: str = '') -> str:
    """Suggestions as the end of a message; `prefix` stands before each name.

    >>> hint('learning_rat', '--config.')
    '; did you mean --config.optimizer.learning_rate?'
    """
    found = [f'{prefix}{name}' if prefix else repr(name) for name in suggestions(typed)]
    return f'; did you mean {" or ".join(found)}?' if found else ''
