"""SentencePiece models (unigram and BPE): trained here, or taken from another model."""

import base64
import functools
import io
import itertools
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import sentencepiece
from sentencepiece import sentencepiece_model_pb2, sentencepiece_pb2

from electra_jax.config.settings import TokenizerConfig
from electra_jax.core.errors import ConfigError, DataError
from electra_jax.tokenizers import api

_ADVICE = (
    'add them as control symbols when the model is trained, or leave --config.data.tokenizer.path '
    'out and a model that has them is trained'
)
# Normalization -> the one that folds case in addition.
_FOLDING = {'nmt_nfkc': 'nmt_nfkc_cf', 'nfkc': 'nfkc_cf'}
_KINDS = {1: 'unigram', 2: 'bpe'}  # of models, by their number in the file
_SPACE = '\u2581'  # a space inside a piece
_MAX_SENTENCE_CHARS = 1000  # of 4 bytes at most: the trainer ignores sentences over 4,192 bytes


class SentencePiece(api.Tokenizer):
    """A SentencePiece model, which contains the normalization of text as well."""

    kind = 'sentencepiece'

    def __init__(self, model: bytes, where: str = 'the SentencePiece model') -> None:
        """Parses the bytes of a .model file; DataError if they are none."""
        self.model = model
        proto = sentencepiece_model_pb2.ModelProto()
        try:
            proto.ParseFromString(model)
        except Exception as error:
            raise DataError(f'{where} is not a SentencePiece .model file') from error
        if not proto.pieces:
            raise DataError(f'{where} is not a SentencePiece .model file: it has no pieces')
        self.pieces = [piece.piece for piece in proto.pieces]
        # The library gives the bytes of a text that is not UTF-8.
        if damaged := [piece for piece in self.pieces if not isinstance(piece, str)]:
            raise DataError(f'{where} is damaged: its piece {damaged[0]!r} is not UTF-8')
        self.special = api.special_ids(self.pieces, where, _ADVICE)
        # In some models [MASK] is a user-defined symbol: the text "[MASK]" would be encoded as it.
        # No text can produce control symbols.
        for i in (self.special.pad, self.special.cls, self.special.sep, self.special.mask):
            proto.pieces[i].type = proto.SentencePiece.CONTROL
        try:
            self._processor = sentencepiece.SentencePieceProcessor(
                model_proto=proto.SerializeToString()
            )
        except (RuntimeError, ValueError) as error:
            raise DataError(f'{where} is damaged: {error}') from error

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        # One thread, for the same reason as in WordPiece: the processes are the parallelism.
        encoded = self._processor.encode(list(texts), out_type=int, num_threads=1)
        return [np.array(ids, np.int32) for ids in encoded]

    def encode_rest(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [
            (self if text[:1].isspace() else self._without_prefix).encode_batch([text])[0]
            for text in texts
        ]

    @functools.cached_property
    def _without_prefix(self) -> 'SentencePiece':
        """The same model, which puts no space before a text."""
        proto = _parse(self.model)
        proto.normalizer_spec.add_dummy_prefix = False
        return SentencePiece(proto.SerializeToString())

    def encode_spans(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Ids and characters of each piece; the space before a word is not part of its piece."""
        return [self._spans(text) for text in texts]

    def _spans(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        # The library counts UTF-8 bytes. Every version of it can return this serialized form.
        encoded = sentencepiece_pb2.SentencePieceText()
        encoded.ParseFromString(self._processor.encode(text, out_type='serialized_proto'))
        sizes = np.array([len(letter.encode()) for letter in text], np.int64)
        starts = np.concatenate([[0], np.cumsum(sizes)])
        bounds = np.array([(piece.begin, piece.end) for piece in encoded.pieces], np.int64)
        spans = np.searchsorted(starts, bounds.reshape(-1, 2)).astype(np.int32)
        pieces = [text[begin:end] for begin, end in spans]
        spans[:, 0] += np.array([len(p) - len(p.lstrip()) for p in pieces], np.int32)
        return np.array([piece.id for piece in encoded.pieces], np.int32), spans

    def decode(self, ids: Sequence[int]) -> str:
        return ''.join(self._visible_tokens(ids)).replace(_SPACE, ' ').strip()

    def to_json(self) -> dict[str, Any]:
        return {'kind': self.kind, 'model': base64.b64encode(self.model).decode()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> 'SentencePiece':
        return cls(base64.b64decode(data['model'], validate=True))

    @classmethod
    def from_file(cls, config: TokenizerConfig) -> 'SentencePiece':
        path = pathlib.Path(str(config.path))
        try:
            model = path.read_bytes()
        except OSError as error:
            raise DataError(
                f'cannot read the SentencePiece model {path} ({error.strerror}); give a .model '
                'file with --config.data.tokenizer.path=FILE, or leave it out and one is trained'
            ) from error
        made = cls(model, str(path))
        _check_kind(made.model, config.kind, path)
        typed = config.lower_case
        if typed is None or typed == made.switches()['lower_case']:
            return made
        rules = _parse(model).normalizer_spec.name
        if not typed or rules not in _FOLDING:
            does = 'does not lower-case' if typed else 'lower-cases'
            raise ConfigError(
                f'config.data.tokenizer.lower_case is {typed}, but {path} {does} text (its '
                f'normalization is {rules or "nameless"!r}): leave lower_case out'
            )
        return cls(_folded(model), str(path))

    def variants(self) -> dict[str, api.Tokenizer]:
        if _parse(self.model).normalizer_spec.name not in _FOLDING:
            return {}
        return {'--config.data.tokenizer.lower_case=True': SentencePiece(_folded(self.model))}

    def switches(self) -> dict[str, bool]:
        return {'lower_case': self._processor.normalize('A').strip(_SPACE) == 'a'}

    def continues_word(self) -> np.ndarray:
        # A piece that begins a word begins with the mark of a space.
        return np.array(
            [not (x.startswith(_SPACE) or self._is_symbol(i)) for i, x in enumerate(self.pieces)]
        )

    def lost(self) -> list[str]:
        normal = [x for i, x in enumerate(self.pieces) if not self._is_symbol(i)]
        bodies = [piece.replace(_SPACE, '') for piece in normal]
        known, after = set(bodies), self._processor.normalize(bodies)
        return [x for x, y in zip(normal, after, strict=True) if y.replace(_SPACE, '') not in known]

    def _is_symbol(self, i: int) -> bool:
        model = self._processor
        return model.is_control(i) or model.is_unknown(i) or model.is_byte(i) or model.is_unused(i)

    @classmethod
    def train(
        cls, texts: Iterable[str], config: TokenizerConfig, watch: api.Watch = iter
    ) -> 'SentencePiece':
        """Learns exactly `config.vocab_size` pieces; special tokens have ids 0 to 4.

        Text is NFKC-normalized, and case-folded if `lower_case`; both become part of the model.
        """
        model = io.BytesIO()
        rules = 'nmt_nfkc' if config.lower_case is False else 'nmt_nfkc_cf'
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=itertools.chain.from_iterable(
                    api.cut_text(text, _MAX_SENTENCE_CHARS) for text in watch(texts)
                ),
                model_writer=model,
                model_type=config.kind,
                vocab_size=config.vocab_size,
                normalization_rule_name=rules,
                pad_id=0,
                unk_id=1,
                bos_id=-1,
                eos_id=-1,
                pad_piece=api.PAD,
                unk_piece=api.UNK,
                control_symbols=[api.CLS, api.SEP, api.MASK],
                num_threads=1,  # with more the result depends on the machine
                minloglevel=2,
            )
        except RuntimeError as error:
            raise DataError(
                f'SentencePiece could not train {config.vocab_size} pieces on this text: '
                f'{str(error).rstrip(".")}. Give more text, or fewer pieces with '
                '--config.data.tokenizer.vocab_size=N'
            ) from error
        return cls(model.getvalue())

    def write_native(self, folder: pathlib.Path) -> None:
        """Writes spiece.model, unchanged."""
        (folder / 'spiece.model').write_bytes(self.model)


def _parse(model: bytes) -> Any:
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model)
    return proto


def _folded(model: bytes) -> bytes:
    """The model with rules of normalization that fold case in addition."""
    proto = _parse(model)
    spec = proto.normalizer_spec
    spec.name = _FOLDING[spec.name]
    rules = sentencepiece.SentencePieceNormalizer(rule_name=spec.name)
    folding = _parse(rules.serialized_model_proto()).normalizer_spec
    spec.precompiled_charsmap = folding.precompiled_charsmap
    return proto.SerializeToString()


def _check_kind(model: bytes, kind: str, path: pathlib.Path) -> None:
    known = _KINDS.get(_parse(model).trainer_spec.model_type, kind)
    if kind in _KINDS.values() and kind != known:
        raise ConfigError(
            f'config.data.tokenizer.kind is {kind!r}, but {path} is a {known} model: type '
            f'--config.data.tokenizer.kind={known}'
        )
