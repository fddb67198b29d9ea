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
from electra_jax.interop.files import check_inside, read_json
from electra_jax.tokenizers import load, wordpiece
from electra_jax.tokenizers.api import Tokenizer
from electra_jax.tokenizers.sentencepiece import SentencePiece
from electra_jax.tokenizers.wordpiece import WordPiece

LIBRARY_FILE, SETTINGS_FILE = 'tokenizer.json', 'tokenizer_config.json'
VOCAB_FILE, MODEL_FILE = 'vocab.txt', 'spiece.model'

_SPACE = '\u2581'

# Texts that different pipelines encode differently: spaces, case, accents, scripts, symbols.
PROBES = (
    'The quick brown fox, 3.14 times (twice!), jumped over "lazy" dogs.',
    '  two  spaces \t and a tab ',
    'Café naïve Ångström ÉCOLE straße İstanbul',
    '東京は日本の首都です。 中文 한국어 русский ελληνικά العربية',
    "don't e-mail me@example.org https://example.org/a?b=c#d ½ ² ™ … — “quoted”",
    'ﬁne \uff46\uff55\uff4c\uff4c\u3000\uff57\uff49\uff44\uff45',
    'a\u00a0no-break space, zero\u200bwidth, e\u0301',
    '🙂 emoji \ue000 private',
    '',
)


def write_tokenizer(tokenizer: Tokenizer, folder: pathlib.Path, max_positions: int) -> None:
    """Writes what transformers' AutoTokenizer needs to give the same ids; `folder` exists.

    A pipeline of the library that gives other ids for one of `PROBES` is refused. transformers cuts
    texts to `max_positions`.
    """
    library = fast_tokenizer(tokenizer)
    for text, ids in zip(PROBES, tokenizer.encode_batch(PROBES), strict=True):
        theirs = library.encode(text, add_special_tokens=False).ids
        if theirs != ids.tolist():
            raise CheckpointError(
                'this tokenizer cannot be written as a tokenizer.json: for the text '
                f'{text!r} it gives {ids.tolist()[:12]}, the library {theirs[:12]}'
            )
    tokenizer.write_native(folder)
    special = {
        f'{field}_token': tokenizer.pieces[i]
        for field, i in dataclasses.asdict(tokenizer.special).items()
    }
    cls, sep = special['cls_token'], special['sep_token']
    # With token types 0 and 1.
    library.post_processor = processors.TemplateProcessing(
        single=f'{cls}:0 $A:0 {sep}:0',
        pair=f'{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1',
        special_tokens=[(cls, tokenizer.special.cls), (sep, tokenizer.special.sep)],
    )
    library.add_special_tokens(list(special.values()))
    library.save(str(folder / LIBRARY_FILE))
    settings: dict[str, Any] = {
        # Reads tokenizer.json as it stands; BertTokenizer would build another pipeline, in which
        # words of more than 100 letters, not 200, are unknown.
        'tokenizer_class': 'PreTrainedTokenizerFast',
        'model_input_names': ['input_ids', 'token_type_ids', 'attention_mask'],
        'model_max_length': max_positions,
        'clean_up_tokenization_spaces': False,
        **special,
    }
    if isinstance(tokenizer, WordPiece):
        settings['do_lower_case'] = tokenizer.lower_case
        settings['strip_accents'] = tokenizer.strip_accents
    text = json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False)
    (folder / SETTINGS_FILE).write_text(text + '\n', encoding='utf-8')


def fast_tokenizer(tokenizer: Tokenizer) -> tokenizers.Tokenizer:
    """Our tokenizer as a pipeline of the `tokenizers` library, without special tokens."""
    if isinstance(tokenizer, WordPiece):
        library = wordpiece.make_pipeline(
            {piece: i for i, piece in enumerate(tokenizer.pieces)},
            tokenizer.lower_case,
            tokenizer.strip_accents,
            tokenizer.pieces[tokenizer.special.unk],
        )
        library.decoder = decoders.WordPiece(prefix='##')
        return library
    if isinstance(tokenizer, SentencePiece):
        return _sentencepiece_pipeline(tokenizer)
    raise CheckpointError(f'a {type(tokenizer).__name__} cannot be written for transformers')


def read_tokenizer(folder: pathlib.Path) -> tuple[Tokenizer | None, list[str]]:
    """The tokenizer of a folder of transformers, None where there is none, and notes about it."""
    for name in (VOCAB_FILE, MODEL_FILE):
        check_inside(folder / name)
    settings = read_json(folder / SETTINGS_FILE) if (folder / SETTINGS_FILE).is_file() else {}
    if not (folder / LIBRARY_FILE).is_file():
        return _read_native(folder, settings), []
    library = read_json(folder / LIBRARY_FILE)
    kind = _dig(library, 'model', 'type')
    if kind == 'WordPiece':
        return _read_wordpiece(folder / LIBRARY_FILE, library, settings)
    if kind in ('Unigram', 'BPE') and (folder / MODEL_FILE).is_file():
        tokenizer = SentencePiece.from_file(TokenizerConfig(path=str(folder / MODEL_FILE)))
        vocab = _vocabulary(folder / LIBRARY_FILE, library)
        if vocab[: tokenizer.vocab_size] != tokenizer.pieces:
            raise CheckpointError(
                f'{folder / LIBRARY_FILE} numbers its pieces differently from {MODEL_FILE} next to '
                'it: our tokenizer would give other ids'
            )
        return tokenizer, []
    raise CheckpointError(
        f'{folder / LIBRARY_FILE} is a {kind} tokenizer, allowed: WordPiece, or SentencePiece with '
        f'its {MODEL_FILE} next to it'
    )


def _read_native(folder: pathlib.Path, settings: dict[str, Any]) -> Tokenizer | None:
    if (folder / VOCAB_FILE).is_file():
        vocab = wordpiece.read_vocab(folder / VOCAB_FILE)
        return _wordpiece(folder / VOCAB_FILE, vocab, {}, settings)
    if (folder / MODEL_FILE).is_file():
        return SentencePiece.from_file(TokenizerConfig(path=str(folder / MODEL_FILE)))
    return None


def _wordpiece(
    path: pathlib.Path, vocab: list[str], normalizer: dict[str, Any], settings: dict[str, Any]
) -> Tokenizer:
    """Our WordPiece; `settings` win over the normalizer, as they do in transformers."""
    data = {
        'kind': 'wordpiece',
        'vocab': vocab,
        'lower_case': settings.get('do_lower_case', normalizer.get('lowercase', True)),
        'strip_accents': settings.get('strip_accents', normalizer.get('strip_accents')),
    }
    return load.from_json(data, path)


# What our WordPiece does, as tokenizer.json has it.
_EXPECTED = {
    ('normalizer', 'type'): 'BertNormalizer',
    ('normalizer', 'clean_text'): True,
    ('normalizer', 'handle_chinese_chars'): True,
    ('pre_tokenizer', 'type'): 'BertPreTokenizer',
    ('model', 'continuing_subword_prefix'): '##',
}


def _read_wordpiece(
    path: pathlib.Path, library: dict[str, Any], settings: dict[str, Any]
) -> tuple[Tokenizer, list[str]]:
    for keys, wanted in _EXPECTED.items():
        found = _dig(library, *keys)
        if found != wanted:
            raise CheckpointError(
                f'{path}: {".".join(keys)} is {found!r:.60}, allowed: {wanted!r}; our tokenizer '
                'would give other ids'
            )
    tokenizer = _wordpiece(path, _vocabulary(path, library), library['normalizer'], settings)
    notes = []
    longest = _dig(library, 'model', 'max_input_chars_per_word')
    if longest != wordpiece.MAX_WORD_CHARS:
        notes.append(
            f'words of more than {longest} letters are unknown to its tokenizer, to ours those of '
            f'more than {wordpiece.MAX_WORD_CHARS}'
        )
    return tokenizer, notes


def _vocabulary(path: pathlib.Path, library: dict[str, Any]) -> list[str]:
    """Pieces in id order, tokens that were added later included."""
    try:
        vocab = _dig(library, 'model', 'vocab') or {}
        if isinstance(vocab, list):  # of a Unigram model: pieces with scores
            vocab = {piece: i for i, (piece, _) in enumerate(vocab)}
        ids = dict(vocab)
        for token in library.get('added_tokens') or []:
            ids.setdefault(token['content'], token['id'])
        vocab = sorted(ids, key=ids.__getitem__)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f'{path}: its vocabulary is damaged ({error!r:.80})') from error
    if [ids[piece] for piece in vocab] != list(range(len(vocab))):
        raise CheckpointError(f'{path}: the ids of its vocabulary are not 0 to {len(vocab) - 1}')
    return vocab


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


def _dig(tree: Any, *keys: str) -> Any:
    """The value at nested keys; None where there is none."""
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree
