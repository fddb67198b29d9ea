"""Tokenizers in folders of transformers: tokenizer.json, its settings, and the native files."""

import dataclasses
import json
import pathlib
from typing import Any

import tokenizers
from sentencepiece import sentencepiece_model_pb2
from tokenizers import decoders, normalizers, pre_tokenizers, processors

from electra_jax.config.settings import TokenizerConfig
from electra_jax.core.errors import CheckpointError
from electra_jax.interop import probes, wordpiece_folder
from electra_jax.interop.files import check_inside
from electra_jax.interop.wordpiece_folder import LIBRARY_FILE, VOCAB_FILE, Folder
from electra_jax.tokenizers.api import Tokenizer
from electra_jax.tokenizers.sentencepiece import SentencePiece
from electra_jax.tokenizers.wordpiece import SETTINGS_FILE, WordPiece

MODEL_FILE = 'spiece.model'

_SPACE = '\u2581'


def write_tokenizer(
    tokenizer: Tokenizer,
    folder: pathlib.Path,
    max_positions: int,
    has_types: bool = True,
    first_type: int = 0,
) -> None:
    """Writes what transformers' AutoTokenizer needs to give the same ids; `folder` exists.

    A pipeline of the library that gives other ids for one of `probes.PROBES` is refused.
    transformers cuts texts to `max_positions`, and gives token types where the model has any
    (`has_types`): `first_type` to the first text.
    """
    library = fast_tokenizer(tokenizer)
    problem = 'this tokenizer cannot be written as a tokenizer.json'
    probes.check_library(tokenizer, library, problem)
    tokenizer.write_native(folder)
    special = {
        f'{field}_token': tokenizer.pieces[i]
        for field, i in dataclasses.asdict(tokenizer.special).items()
    }
    cls, sep = special['cls_token'], special['sep_token']
    library.post_processor = processors.TemplateProcessing(
        single=f'{cls}:{first_type} $A:{first_type} {sep}:{first_type}',
        pair=f'{cls}:{first_type} $A:{first_type} {sep}:{first_type} $B:1 {sep}:1',
        special_tokens=[(cls, tokenizer.special.cls), (sep, tokenizer.special.sep)],
    )
    library.add_special_tokens(list(special.values()))
    library.save(str(folder / LIBRARY_FILE))
    settings: dict[str, Any] = {
        # Reads tokenizer.json as it stands; BertTokenizer would build another pipeline, in which
        # words of more than 100 letters, not 200, are unknown.
        'tokenizer_class': 'PreTrainedTokenizerFast',
        'model_input_names': [
            'input_ids',
            *(['token_type_ids'] if has_types else []),
            'attention_mask',
        ],
        'model_max_length': max_positions,
        'clean_up_tokenization_spaces': False,
        **special,
    }
    if isinstance(tokenizer, WordPiece):
        settings |= tokenizer.foreign_settings()
    text = json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False)
    (folder / SETTINGS_FILE).write_text(text + '\n', encoding='utf-8')


def fast_tokenizer(tokenizer: Tokenizer) -> tokenizers.Tokenizer:
    """Our tokenizer as a pipeline of the `tokenizers` library, without special tokens."""
    if isinstance(tokenizer, WordPiece):
        library = tokenizer.pipeline()
        library.decoder = decoders.WordPiece(prefix='##')
        return library
    if isinstance(tokenizer, SentencePiece):
        return _sentencepiece_pipeline(tokenizer)
    raise CheckpointError(
        f'transformers has no tokenizer that gives the ids of kind={tokenizer.kind!r}: use the '
        'model here, by python -m electra_jax.predict --checkpoint=WORKDIR --input=FILE, or '
        'pre-train another with --config.data.tokenizer.kind=unigram'
    )


def read_tokenizer(path: pathlib.Path) -> tuple[Tokenizer | None, list[str]]:
    """The tokenizer of a folder of transformers, None where there is none, and notes about it."""
    for name in (VOCAB_FILE, MODEL_FILE):
        check_inside(path / name)
    folder = wordpiece_folder.open_folder(path)
    if folder.tokenizer_json is None:
        if (path / VOCAB_FILE).is_file():
            return wordpiece_folder.read(folder)
        if (path / MODEL_FILE).is_file():
            return _read_sentencepiece(folder)
        if (path / 'vocab.json').is_file():
            raise CheckpointError(
                f'{path} has its vocabulary in vocab.json, allowed: {VOCAB_FILE}, {MODEL_FILE} or '
                f'{LIBRARY_FILE}; if it is of WordPiece, write its pieces into {VOCAB_FILE}, one a '
                'line, in the order of their ids'
            )
        return None, []
    kind = (folder.tokenizer_json.get('model') or {}).get('type')
    if kind == 'WordPiece':
        return wordpiece_folder.read(folder)
    if kind in ('Unigram', 'BPE') and (path / MODEL_FILE).is_file():
        return _read_sentencepiece(folder)
    raise CheckpointError(
        f'{path / LIBRARY_FILE} is a {kind} tokenizer, allowed: WordPiece, or SentencePiece with '
        f'its {MODEL_FILE} next to it'
    )


# Classes that use a SentencePiece model as it is.
_SENTENCEPIECE = (None, 'PreTrainedTokenizer', 'TokenizersBackend')


def _read_sentencepiece(folder: Folder) -> tuple[Tokenizer, list[str]]:
    """The model in a folder, which tokenizer.json must describe if there is one."""
    tokenizer = SentencePiece.from_file(TokenizerConfig(path=str(folder.path / MODEL_FILE)))
    if folder.tokenizer_class not in _SENTENCEPIECE:
        raise CheckpointError(
            f'{folder.path}: its tokenizer_class is {folder.tokenizer_class!r}, which may change '
            f'text before {MODEL_FILE} cuts it, allowed: PreTrainedTokenizerFast'
        )
    notes = wordpiece_folder.check_settings(folder)
    stated = [name for name in ('do_lower_case', 'strip_accents') if folder.settings.get(name)]
    if stated and folder.tokenizer_json is None:
        raise CheckpointError(
            f'{folder.path}: {stated[0]} is true, but a SentencePiece model has its own '
            'normalization, which knows nothing of it'
        )
    if folder.tokenizer_json is not None:
        _check_sentencepiece(folder.path / LIBRARY_FILE, folder.tokenizer_json, tokenizer)
    return tokenizer, notes


def _check_sentencepiece(
    path: pathlib.Path, stated: dict[str, Any], tokenizer: SentencePiece
) -> None:
    """Refuses a tokenizer.json that is not the model next to it."""
    try:
        vocab = stated['model']['vocab']
        # A Unigram model lists pieces with scores.
        ids = {p: i for i, (p, _) in enumerate(vocab)} if isinstance(vocab, list) else dict(vocab)
        pieces = sorted(ids, key=ids.__getitem__)
        added = [token['content'] for token in stated.get('added_tokens') or []]
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f'{path}: its vocabulary is damaged ({error!r:.80})') from error
    special = {tokenizer.pieces[i] for i in dataclasses.astuple(tokenizer.special)}
    more = [content for content in added if content not in special]
    if more:
        raise CheckpointError(
            f'{path}: it has the added tokens {", ".join(map(repr, more[:10]))}, which our '
            f'tokenizer does not search for; {MODEL_FILE} alone gives other ids'
        )
    if pieces != tokenizer.pieces:
        raise CheckpointError(
            f'{path} numbers its pieces differently from {MODEL_FILE} next to it: our tokenizer '
            'would give other ids'
        )
    library = probes.read_library(path)
    probes.check_library(tokenizer, library, f'the tokenizer {path} cannot be read')


def _sentencepiece_pipeline(tokenizer: SentencePiece) -> tokenizers.Tokenizer:
    """What a SentencePiece model does, in the library's parts.

    Where a unigram model scores two ways of cutting a word exactly alike, the two libraries may
    take different ones: 2 of 1,500 lines of Wikipedia, one word in each.
    """
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(tokenizer.model)
    scores = [(piece.piece, piece.score) for piece in proto.pieces]
    trainer, fallback = proto.trainer_spec, proto.trainer_spec.byte_fallback
    model: tokenizers.models.Model
    if trainer.model_type == trainer.UNIGRAM:
        model = tokenizers.models.Unigram(scores, tokenizer.special.unk, fallback)
    elif trainer.model_type == trainer.BPE:
        model = _bpe(proto, scores, fallback)
    else:
        raise CheckpointError('a SentencePiece model of words or characters has no tokenizer.json')
    library = tokenizers.Tokenizer(model)
    spec = proto.normalizer_spec
    steps: list[normalizers.Normalizer] = []
    if spec.precompiled_charsmap:
        steps.append(normalizers.Precompiled(spec.precompiled_charsmap))
    if spec.remove_extra_whitespaces:
        steps.append(normalizers.Strip())
        steps.append(normalizers.Replace(tokenizers.Regex(' {2,}'), ' '))
    library.normalizer = normalizers.Sequence(steps)
    library.pre_tokenizer = pre_tokenizers.Metaspace(
        replacement=_SPACE,
        prepend_scheme='always' if spec.add_dummy_prefix else 'never',
        split=trainer.split_by_whitespace,
    )
    library.decoder = decoders.Metaspace(replacement=_SPACE)
    return library


def _bpe(proto: Any, scores: list[tuple[str, float]], fallback: bool) -> tokenizers.models.BPE:
    """SentencePiece merges the neighbours whose joint piece has the best score."""
    ids = {piece: i for i, (piece, _) in enumerate(scores)}
    normal = {p.piece for p in proto.pieces if p.type == p.NORMAL}
    merges = [
        (score, piece[:cut], piece[cut:])
        for piece, score in scores
        if piece in normal
        for cut in range(1, len(piece))
        if piece[:cut] in normal and piece[cut:] in normal
    ]
    merges.sort(key=lambda merge: (-merge[0], ids[merge[1]], ids[merge[2]]))
    return tokenizers.models.BPE(
        vocab=ids,
        merges=[(left, right) for _, left, right in merges],
        unk_token=proto.trainer_spec.unk_piece,
        fuse_unk=True,
        byte_fallback=fallback,
    )
