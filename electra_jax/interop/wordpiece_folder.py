"""WordPiece tokenizers as folders of transformers state them.

What a folder states is followed as transformers 5 follows it (models/bert/tokenization_bert.py,
tokenization_utils_base.py), or refused by name.
"""

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from electra_jax.core.errors import CheckpointError, DataError
from electra_jax.interop import probes
from electra_jax.interop.files import CONFIG_FILE, read_json
from electra_jax.interop.huggingface import FAMILIES
from electra_jax.tokenizers import api, wordpiece
from electra_jax.tokenizers.wordpiece import SETTINGS_FILE, Added, Rules, WordPiece

LIBRARY_FILE = 'tokenizer.json'
VOCAB_FILE, ADDED_FILE, SPECIAL_FILE = 'vocab.txt', 'added_tokens.json', 'special_tokens_map.json'

# Classes that build BERT's pipeline from the settings, of tokenizer.json only the vocabulary.
_BERT = ('BertTokenizer', 'ElectraTokenizer', 'DistilBertTokenizer', 'ConvBertTokenizer')
# Classes that use tokenizer.json as it stands.
_GENERIC = ('PreTrainedTokenizer', 'TokenizersBackend')
# In _BERT classes, which build their own model.
_BERT_WORD_CHARS = 100
_SPECIAL = tuple(field.name for field in dataclasses.fields(api.SpecialIds))
_NAMES = {f'{field}_token': field for field in _SPECIAL}

# Settings of tokenizer_config.json that are followed in one form only -> its values.
_ONLY: dict[str, tuple[Any, ...]] = {
    'do_basic_tokenize': (True,),
    'never_split': (None, []),
    'wordpieces_prefix': ('##',),
    'clean_text': (True,),
    'split_special_tokens': (False,),
    'add_bos_token': (False, None),
    'add_eos_token': (False, None),
    'add_prefix_space': (False, None),
    'do_word_tokenize': (True,),
    'do_subword_tokenize': (True,),
    'word_tokenizer_type': (None, 'basic'),
    'subword_tokenizer_type': (None, 'wordpiece'),
    'mecab_kwargs': (None,),
    'sudachi_kwargs': (None,),
    'jumanpp_kwargs': (None,),
    'truncation_side': ('right',),
    'auto_map': (None,),
}
# Settings that name further special tokens.
_MORE_NAMES = (
    'additional_special_tokens',
    'extra_special_tokens',
    'model_specific_special_tokens',
)
# Settings that are followed elsewhere, or that change no id of a text.
_KNOWN = {
    *('tokenizer_class', *wordpiece.SWITCHES, *_NAMES),
    *('added_tokens_decoder', *_MORE_NAMES),
    *('bos_token', 'eos_token', 'model_max_length', 'max_len'),
    *('model_input_names', 'clean_up_tokenization_spaces', 'padding_side', 'pad_token_type_id'),
    *(
        'name_or_path',
        'special_tokens_map_file',
        'tokenizer_file',
        'vocab_file',
        'full_tokenizer_file',
    ),
    *('use_fast', 'backend', 'is_local', 'local_files_only', 'init_inputs', 'processor_class'),
    *('max_length', 'stride', 'truncation_strategy', 'pad_to_multiple_of', 'return_token_type_ids'),
    *('chat_template', 'transformers_version', 'from_slow', 'legacy', 'unk_id'),
}
# Settings of which parts are read -> the JSON types that transformers writes; `null` is none.
_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys((*_NAMES, 'bos_token', 'eos_token'), (str, dict)),
    'tokenizer_class': (str,),
    'model_input_names': (list,),
    'added_tokens_decoder': (dict,),
    **dict.fromkeys(_MORE_NAMES, (list, dict)),
}
_JSON_NAMES: dict[type, str] = {str: 'a text', list: 'a list', dict: 'an object'}


class Folder(NamedTuple):
    """What the files of a folder state about its tokenizer."""

    path: pathlib.Path
    settings: dict[str, Any]  # tokenizer_config.json, and special_tokens_map.json
    tokenizer_json: dict[str, Any] | None  # content of the file

    @property
    def tokenizer_class(self) -> str | None:
        """The class of transformers, without 'Fast'; None where no file names one."""
        name = self.settings.get('tokenizer_class')
        if name is None and (self.path / CONFIG_FILE).is_file():
            name = read_json(self.path / CONFIG_FILE).get('tokenizer_class')
        return None if name is None else str(name).removesuffix('Fast')

    @property
    def has_types(self) -> bool:
        """Whether its model tells the two texts of a pair apart."""
        file = self.path / CONFIG_FILE
        name = read_json(file).get('model_type') if file.is_file() else None
        family = FAMILIES.get(str(name))
        return family is None or family.has_types


def open_folder(path: pathlib.Path) -> Folder:
    """The settings in a folder; CheckpointError where two files contradict each other."""
    settings = _object(path / SETTINGS_FILE)
    special = _object(path / SPECIAL_FILE)
    _check_types(path / SETTINGS_FILE, settings)
    _check_types(path / SPECIAL_FILE, special)
    for name, value in special.items():
        stated = settings.setdefault(name, value)
        if name in _NAMES and _content(stated) != _content(value):
            raise CheckpointError(
                f'{path}: {name} is {_content(stated)!r} in {SETTINGS_FILE} and '
                f'{_content(value)!r} in {SPECIAL_FILE}: delete the wrong one'
            )
    library = _object(path / LIBRARY_FILE) if (path / LIBRARY_FILE).is_file() else None
    return Folder(path, settings, library)


def _object(path: pathlib.Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _check_types(file: pathlib.Path, settings: Mapping[str, Any]) -> None:
    for name, allowed in _TYPES.items():
        value = settings.get(name)
        if value is not None and not isinstance(value, allowed):
            words = ' or '.join(_JSON_NAMES[one] for one in allowed)
            raise CheckpointError(
                f'{file}: {name} is {value!r:.80}, allowed: {words}; it is damaged, or was not '
                'written by transformers: fetch it again'
            )


def check_settings(folder: Folder) -> list[str]:
    """Refuses settings that our tokenizers do not have; notes on those that nobody knows."""
    file = folder.path / SETTINGS_FILE
    for name, allowed in _ONLY.items():
        value = folder.settings.get(name, allowed[0])
        if value not in allowed:
            raise CheckpointError(
                f'{file}: {name} is {value!r:.80}, allowed: {" or ".join(map(repr, allowed))}; our '
                'tokenizer would give other ids'
            )
    inputs = folder.settings.get('model_input_names')
    if inputs is not None and 'token_type_ids' not in inputs and folder.has_types:
        raise CheckpointError(
            f'{file}: model_input_names is {inputs!r:.80}, without token_type_ids: its model never '
            'sees which text of a pair is the second, ours always does'
        )
    if _dig(folder.tokenizer_json, 'truncation', 'direction') == 'Left':
        raise CheckpointError(
            f'{folder.path / LIBRARY_FILE}: truncation.direction is Left, allowed: Right; our rows '
            'keep the beginning of a text'
        )
    unknown = sorted(folder.settings.keys() - _ONLY.keys() - _KNOWN)
    return (
        [f'{SETTINGS_FILE}: unknown here and not followed: {", ".join(unknown)}'] if unknown else []
    )


def row_limit(folder: Folder) -> int | None:
    """The most tokens of a row that the folder states, special ones included; None: it does not."""
    stated = (
        folder.settings.get('model_max_length'),
        folder.settings.get('max_len'),
        _dig(folder.tokenizer_json, 'truncation', 'max_length'),
    )
    # transformers writes an enormous number for "no limit".
    limits = [int(n) for n in stated if isinstance(n, int | float) and 3 <= n < 1 << 20]
    return min(limits, default=None)


def read(
    folder: Folder, vocab_file: pathlib.Path | None = None, max_word_chars: int = _BERT_WORD_CHARS
) -> tuple[WordPiece, list[str]]:
    """The tokenizer of a folder with a vocab.txt or a WordPiece tokenizer.json, and notes.

    Args:
        folder: its settings.
        vocab_file: instead of the folder's vocab.txt, where there is no tokenizer.json.
        max_word_chars: of the program whose settings these are, unless tokenizer.json is used as
            it stands; longer words are unknown.
    """
    notes = check_settings(folder)
    name = folder.tokenizer_class
    if name not in (None, *_BERT, *_GENERIC):
        raise CheckpointError(
            f'{folder.path}: its tokenizer_class is {name!r}, allowed: '
            f'{", ".join((*_BERT, *_GENERIC))}; another class may cut words differently, so our '
            'tokenizer would give other ids'
        )
    as_it_stands = name in _GENERIC and folder.tokenizer_json is not None
    if folder.tokenizer_json is None:
        file = vocab_file or folder.path / VOCAB_FILE
        vocab = wordpiece.read_vocab(file)
    else:
        file, vocab = folder.path / LIBRARY_FILE, _vocabulary(folder)
        _check_pipeline(file, folder.tokenizer_json)
    switches, more = _switches(folder, as_it_stands)
    special, added = _special_names(folder, vocab), _added(folder, vocab)
    longest = _dig(folder.tokenizer_json, 'model', 'max_input_chars_per_word')
    if as_it_stands:
        max_word_chars = longest
    elif longest not in (None, max_word_chars):
        more.append(
            f'{LIBRARY_FILE} has words of up to {longest} letters, and the class '
            f'{name or _BERT[0]} of up to {max_word_chars}: longer ones are unknown'
        )
    rules = Rules(
        split_chinese=switches['tokenize_chinese_chars'],
        max_word_chars=max_word_chars,
        special=special,
        added=added,
    )
    try:
        strip = switches['strip_accents']
        made = WordPiece(vocab, switches['do_lower_case'], strip, str(file), rules)
    except DataError as error:
        raise CheckpointError(str(error)) from error
    if folder.tokenizer_json is not None:
        _check_library(file, made, as_it_stands, folder.has_types)
    return made, notes + more


# ---------------------------------------------------------------------------------------------
# The vocabulary, and tokens in addition to it


def _vocabulary(folder: Folder) -> list[str]:
    """Pieces of tokenizer.json in id order; added tokens fill gaps, and follow as special ones."""
    path, library = folder.path / LIBRARY_FILE, folder.tokenizer_json or {}
    try:
        ids = dict(_dig(library, 'model', 'vocab') or {})
        most = max(ids.values(), default=-1)
        for token in library.get('added_tokens') or []:
            if token['id'] < most:
                ids.setdefault(token['content'], token['id'])
        vocab = sorted(ids, key=ids.__getitem__)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f'{path}: its vocabulary is damaged ({error!r:.80})') from error
    if [ids[piece] for piece in vocab] != list(range(len(vocab))):
        raise CheckpointError(f'{path}: the ids of its vocabulary are not 0 to {len(vocab) - 1}')
    if (folder.path / VOCAB_FILE).is_file():
        lines = wordpiece.read_vocab(folder.path / VOCAB_FILE)
        other = next(
            (i for i, pair in enumerate(zip(vocab, lines, strict=False)) if len({*pair}) > 1), None
        )
        if other is not None:
            raise CheckpointError(
                f'{path} and {VOCAB_FILE} next to it differ: id {other} is {vocab[other]!r} and '
                f'{lines[other]!r}: delete the wrong one'
            )
    return vocab


def _added(folder: Folder, vocab: list[str]) -> tuple[Added, ...]:
    """Added tokens in id order; special ones of ours that follow the vocabulary go into `vocab`."""
    found: dict[str, tuple[int, Added]] = {}
    file = folder.path / SETTINGS_FILE
    try:
        for number, token in _stated(folder):
            added = Added(**{k: v for k, v in token.items() if k not in ('id', '__type')})
            if found.setdefault(added.content, (number, added))[0] != number:
                raise CheckpointError(
                    f'{folder.path}: the added token {added.content!r} has the ids '
                    f'{found[added.content][0]} and {number} in different files'
                )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f'{folder.path}: added tokens are damaged ({error!r:.120})'
        ) from error
    ids = {piece: i for i, piece in enumerate(vocab)}
    following = max([len(vocab) - 1, *(number for number, _ in found.values())]) + 1
    for content in _more_names(folder.settings):
        if content not in found:
            number = ids.get(content, following)
            following += number == following
            # As transformers makes a token of a plain name.
            found[content] = number, Added(content, normalized=False, special=True)
    named = {_content(folder.settings.get(name)) for name in _NAMES}
    own = {
        *(n for names in api.ACCEPTED.values() for n in names if n in ids),
        *named,
        *api.SPECIAL_NAMES,
    }
    kept = []
    for content, (number, added) in sorted(found.items(), key=lambda item: item[1][0]):
        expected = ids.get(content, len(ids))
        if number != expected:
            raise CheckpointError(
                f'{file.parent}: the added token {content!r} has id {number}, but {expected} is '
                'the id that it has, or the first that is free: the files do not belong together'
            )
        ids[content] = number
        if content in own and number == len(vocab):
            vocab.append(content)
        if content not in own:
            kept.append(added)
    return tuple(kept)


def _stated(folder: Folder) -> Iterable[tuple[int, dict[str, Any]]]:
    """The ids of added tokens and what is stated about them, file by file."""
    for number, token in (folder.settings.get('added_tokens_decoder') or {}).items():
        yield int(number), token
    for token in (folder.tokenizer_json or {}).get('added_tokens') or []:
        yield int(token['id']), token
    special = {_content(folder.settings.get(name)) for name in _NAMES}
    special.update(_more_names(folder.settings))
    for content, number in _object(folder.path / ADDED_FILE).items():
        is_special = content in special
        yield int(number), {'content': content, 'normalized': not is_special, 'special': is_special}


def _more_names(settings: Mapping[str, Any]) -> list[str]:
    """Names of further special tokens."""
    found: list[Any] = [settings.get('bos_token'), settings.get('eos_token')]
    for key in _MORE_NAMES:
        value = settings.get(key) or []
        found += value.values() if isinstance(value, dict) else value
    return [name for name in map(_content, found) if name]


def _content(token: Any) -> str | None:
    """The name of a special token, which may come with properties."""
    token = token.get('content') if isinstance(token, dict) else token
    return None if token is None else str(token)


def _special_names(folder: Folder, vocab: Sequence[str]) -> dict[str, str]:
    """Those of the five special tokens that have another name than ours would be found by."""
    known, special = set(vocab), {}
    for setting, field in _NAMES.items():
        name = _content(folder.settings.get(setting))
        usual = next((n for n in api.ACCEPTED[field] if n in known), api.ACCEPTED[field][0])
        if name is not None and name != usual:
            special[field] = name
    return special


# ---------------------------------------------------------------------------------------------
# The pipeline

# What our WordPiece does, as tokenizer.json has it.
_EXPECTED = {
    ('normalizer', 'type'): 'BertNormalizer',
    ('normalizer', 'clean_text'): True,
    ('pre_tokenizer', 'type'): 'BertPreTokenizer',
    ('model', 'continuing_subword_prefix'): '##',
}
# Setting of tokenizer_config.json -> the normalizer's name of it, the classes' usual value.
_SWITCHES: dict[str, tuple[str, bool | None]] = {
    'do_lower_case': ('lowercase', True),
    'tokenize_chinese_chars': ('handle_chinese_chars', True),
    'strip_accents': ('strip_accents', None),
}


def _check_pipeline(path: pathlib.Path, library: dict[str, Any]) -> None:
    for keys, wanted in _EXPECTED.items():
        found = _dig(library, *keys)
        if found != wanted:
            raise CheckpointError(
                f'{path}: {".".join(keys)} is {found!r:.60}, allowed: {wanted!r}; our tokenizer '
                'would give other ids'
            )
    longest = _dig(library, 'model', 'max_input_chars_per_word')
    if type(longest) is not int or longest < 1:
        raise CheckpointError(
            f'{path}: model.max_input_chars_per_word is {longest!r:.60}, allowed: a whole number'
        )


def _switches(folder: Folder, as_it_stands: bool) -> tuple[dict[str, Any], list[str]]:
    """The switches of the normalization, as the class of the folder takes them, and notes.

    A class of BERT has them from tokenizer_config.json, others from tokenizer.json. Where the other
    file states another value, there is a note if the first one states its own, too; otherwise the
    folder is refused, because nobody can know which one the model was trained with.
    """
    values: dict[str, Any] = {}
    notes = []
    normalizer = _dig(folder.tokenizer_json, 'normalizer') or {}
    for name, (theirs, usual) in _SWITCHES.items():
        stated = folder.settings.get(name)
        held = normalizer.get(theirs)
        for value in (stated, held):
            if not isinstance(value, bool | None):
                raise CheckpointError(
                    f'{folder.path}: {name} is {value!r:.60}, allowed: true, false'
                )
        # Accents that no file mentions are stripped as text is lower-cased.
        default = values['do_lower_case'] if usual is None else usual
        typed = default if stated is None else stated
        in_library = typed if folder.tokenizer_json is None else default if held is None else held
        values[name] = in_library if as_it_stands else typed
        if typed == in_library:
            continue
        if stated is not None and not as_it_stands:
            notes.append(f'{name} is {stated} as {SETTINGS_FILE} has it; {LIBRARY_FILE}: {held}')
        elif stated is not None or not as_it_stands:
            raise CheckpointError(
                f'{folder.path}: {name} is {stated if stated is not None else "unset"} in '
                f'{SETTINGS_FILE}, which means {typed}, and {theirs} is {held} in {LIBRARY_FILE}: '
                f'make them agree by writing "{name}": {str(in_library).lower()} or '
                f'{str(typed).lower()} into both'
            )
    return values, notes


def _check_library(
    path: pathlib.Path, made: WordPiece, as_it_stands: bool, has_types: bool
) -> None:
    """Refuses a tokenizer.json that the library reads differently."""
    library = probes.read_library(path)
    if as_it_stands:
        problem = f'the tokenizer {path} cannot be read'
        probes.check_library(made, library, problem, probes.probes_of(made))
    if library.post_processor is None and not as_it_stands:
        return  # the class has its own
    row = probes.encode(library, *probes.PAIR)
    first, second = (made.encode_batch([text])[0].tolist() for text in probes.PAIR)
    of_library = [probes.ids_of(library, text) for text in probes.PAIR]
    expected = probes.pair_row(made)
    found = (row.ids, row.type_ids if has_types else expected[1])
    if (first, second) == tuple(of_library) and found != expected:
        raise CheckpointError(
            f'{path}: its post_processor makes of a pair of texts the ids {row.ids} with the types '
            f'{row.type_ids}, allowed: {expected[0]} with {expected[1]}, as BERT has them'
        )


def _dig(tree: Any, *keys: str) -> Any:
    """The value at nested keys; None where there is none."""
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree
