"""What messages tell a person to type is typed, and ends well."""

import bz2
import functools
import gzip
import json
import lzma
import pathlib
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pytest

from electra_jax.config import fields, resolve
from electra_jax.config.settings import Config, TokenizerConfig
from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import UserError
from electra_jax.corpus import job as corpus
from electra_jax.finetune import known, run
from electra_jax.finetune import split as splits
from electra_jax.finetune.files import predict_input
from electra_jax.interop.tokenizer import write_tokenizer
from electra_jax.tokenizers import load
from electra_jax.tokenizers.sentencepiece import SentencePiece
from tests.support import advice, loading
from tests.support.configs import merged
from tests.support.corpora import WORDS

Act = Callable[[pathlib.Path, list[str]], str | None]


class Case(NamedTuple):
    """What a person did, whose message has advice; all of it is followed, one after another."""

    act: Act  # in a folder, with words typed: raises a UserError, or returns its messages
    files: Mapping[str, str | bytes] = {}
    blanks: Mapping[str, str] = {}  # what is filled in for names and numbers in the advice
    words: tuple[str, ...] = ()  # typed at first
    hand: Mapping[str, str] = {}  # files that a person gives other names
    more: tuple[str, ...] = ()  # typed with the advice, where it does not name all that is needed
    other: tuple[str, ...] = ('?',)  # beginnings of advice that is for another situation


# ---------------------------------------------------------------------------------------------
# What a person does


def checks(**changes: Any) -> Act:
    """Settings are checked, as before anything else."""

    def act(folder: pathlib.Path, words: list[str]) -> None:
        settings = advice.type_settings(folder, changes, words)
        if not resolve.inherits_model(settings):
            resolve.resolve(settings, 'gpu' if settings.model.attention == 'triton' else 'cpu')

    return act


def reads(name: str, **changes: Any) -> Act:
    """A task's files are read: those to train on, those that are scored, and a test file."""

    def act(folder: pathlib.Path, words: list[str]) -> str:
        asked = {'job': 'finetune', 'task': {'name': name}, 'data': {'path': str(folder)}}
        settings = advice.type_settings(folder, merged(asked, changes), words)
        length = known.get(settings.task.name).row_length
        config = resolve.resolve(settings, 'cpu', row_length=length)
        loaded, held_out = splits.read_train(config)
        read = [loaded, *splits.read_scored(config, loaded.task, held_out).values()]
        read += splits.read_tests(config, loaded.task).values()
        return '\n'.join(line for one in read for line in one.complaints.lines())

    return act


def builds(**data: Any) -> Act:
    """A corpus is built of what is in the folder, with a small vocabulary."""

    def act(folder: pathlib.Path, words: list[str]) -> str:
        asked = {
            'path': str(folder / 'corpus'), 'source': f'text:{folder}/*.txt', 'row_length': 16,
            'layout': 'packed', 'workers': 1, 'tokenizer': {'vocab_size': 100}, 'holdout': 0.2,
        }  # fmt: skip
        settings = advice.type_settings(folder, {'data': merged(asked, data)}, words)
        with pytest.MonkeyPatch.context() as patch:
            lines: list[str] = []
            patch.setattr(corpus.terminal.ERR, 'print', lambda line: lines.append(str(line)))
            corpus.build_corpus(resolve.resolve(settings, 'cpu').data)
        return '\n'.join(lines)

    return act


def in_steps(**changes: Any) -> Act:
    """Fine-tuning is asked for, with a length in steps, and then as the message has it."""

    def act(folder: pathlib.Path, words: list[str]) -> None:
        asked = {'job': 'finetune', 'task': {'name': 'sst2'}, **({} if words else changes)}
        run._refuse_steps(advice.type_settings(folder, asked, words))

    return act


def writes_for_transformers(folder: pathlib.Path, words: list[str]) -> None:
    """A tokenizer of the typed settings is trained, and written for transformers."""
    changes = {'data': {'tokenizer': {'kind': 'characters', 'vocab_size': 40}}}
    config = resolve.resolve(advice.type_settings(folder, changes, words), 'cpu').data.tokenizer
    tokenizer = load.train_tokenizer(TEXT.split('\n'), config)
    write_tokenizer(tokenizer, folder, 128)


@functools.cache
def model() -> bytes:
    """A small SentencePiece model."""
    config = TokenizerConfig(kind='unigram', vocab_size=40)
    return SentencePiece.train(TEXT.split('\n'), config).model


def predicts(name: str) -> Act:
    """New text is read for a trained model."""

    def act(folder: pathlib.Path, words: list[str]) -> str:
        typed = dict(word.removeprefix('--').split('=', 1) for word in words)
        path = next(folder.glob('input*'))
        task = loading.task_of(name, loading.Known(('no', 'yes')))
        columns = predict_input.parse_columns(typed.get('columns'))
        form = typed.get('format') or predict_input.format_of(path)
        if 'format' not in typed and form == 'lines':
            predict_input.check_lines(task, path, columns)
        complaints = Complaints('data.on_bad_row', 'error')
        predict_input.read(task, path, form, columns, complaints)
        return '\n'.join(complaints.lines())

    return act


COLUMNS = '--config.task.columns.'
TEXT = '\n\n'.join(' '.join(WORDS[i:] + WORDS[:i]) for i in range(16)) + '\n'
NUMBERED = '1 a DET\n1 b NOUN\n2 c DET\n2 d NOUN\n'
VOCAB = '\n'.join(['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *WORDS]) + '\n'
SEED = 0
TABLE = 'text,label\ngood film,yes\nbad film,no\nso so,no\n'
MANY = TABLE + ''.join(f'film {i},yes\n' for i in range(40))
LATIN = TABLE.replace('so so', 'café').encode('latin-1')
JSON = [{'text': text} for text in TEXT.split('\n\n')]
LABELS = '{"text": "film", "label": ["a"]}\n{"text": "so", "label": ["b"]}\n'
TAGS = 'anna B-PER\nsaw O\nrome B-LOC\n\nbob B-PER\nran O\n'
QUESTION = {'id': 'q', 'question': 'who ?', 'answers': [{'text': 'anna', 'answer_start': 0}]}


def squad(*questions: dict) -> str:
    paragraph = {'context': 'anna saw rome', 'qas': list(questions)}
    return json.dumps({'data': [{'paragraphs': [paragraph]}]}, ensure_ascii=False)


def two(ending: str, train: str | bytes, dev: str | bytes | None = None) -> dict:
    return {f'train{ending}': train, f'dev{ending}': train if dev is None else dev}


CASES = {
    # Settings.
    'a_part_of_fine_tuning': Case(
        checks(trials=3), other=('--config.seed=',), more=('--config.task.name=sst2',)
    ),
    'freeze_without_networks_apart': Case(checks(objective={'freeze_generator': True})),
    'generator_steps': Case(
        checks(objective={'generator_steps': 5}),
        more=(
            '--config.model.embedding_sharing=untied',
            '--config.model.generator_width=1',
            '--config.model.generator_layers=1',
            '--config.model.generator_embedding_size=128',
        ),
    ),
    'beam_options': Case(checks(data={'runner_options': '--runner=X'}), other=('--runner',)),
    'no_task': Case(checks(job='finetune')),
    'a_kind_for_a_task': Case(reads('multi_label'), two('.jsonl', LABELS)),
    'accents': Case(
        checks(data={'tokenizer': {'strip_accents': True, 'kind': 'unigram'}}),
    ),
    'float32_kernel': Case(checks(model={'attention': 'triton', 'compute_dtype': 'float32'})),
    'two_stage': Case(checks(objective={'name': 'two_stage'})),
    # Files of tasks.
    'bad_row': Case(reads('text'), two('.csv', TABLE + 'a,b,c\n')),
    'latin_1': Case(reads('text'), {'train.csv': LATIN, 'dev.csv': TABLE}),
    'latin_1_packed': Case(reads('text'), {'train.csv.gz': gzip.compress(LATIN), 'dev.csv': TABLE}),
    'latin_1_in_quotes': Case(
        reads('text', task={'train_file': "anna's train.csv"}),
        {"anna's train.csv": LATIN, 'dev.csv': TABLE},
    ),
    'latin_1_answers': Case(
        reads('squad1'),
        {
            'dev.json': squad({**QUESTION, 'question': 'café ?'}).encode('latin-1'),
            'train.json': squad(QUESTION),
        },
    ),
    'no_dev': Case(reads('text'), {'train.csv': MANY, 'other.csv': TABLE}, {'NAME': 'other.csv'}),
    'a_file_for_a_folder': Case(
        reads('text', data={'path': 'SELF/train.csv'}),
        two('.csv', TABLE),
        {'NAME': 'train.csv'},
        more=('--config.data.path=SELF',),
    ),
    'sides_without_names': Case(
        reads('translation'),
        {f'{name}.{side}': 'a b\n' for name in ('train', 'dev') for side in ('en', 'de')},
        other=('--config.task.train_file',),
    ),
    'a_missing_side': Case(
        reads('translation'),
        {f'{name}.{side}': 'a b\n' for name in ('train', 'dev') for side in ('en', 'fr')},
        {'ENDING': 'fr'},
        words=(f'{COLUMNS}source=en', f'{COLUMNS}target=de'),
    ),
    'path_missing': Case(
        reads('text', data={'path': None}),
        two('.csv', TABLE),
        {'FOLDER': 'SELF', 'NAME': 'SELF/train.csv'},
        more=('--config.task.dev_share=0.4',),
    ),
    'header': Case(
        reads('text'),
        two('.csv', TABLE.split('\n', 1)[1]),
        other=(f'{COLUMNS}text_a=NAME',),
        more=(f'{COLUMNS}label=1',),
    ),
    'semicolons': Case(reads('text'), two('.csv', TABLE.replace(',', ';')), other=(COLUMNS,)),
    'tabs_in_a_csv': Case(reads('text'), two('.csv', TABLE.replace(',', '\t')), other=(COLUMNS,)),
    'commas_in_a_tsv': Case(reads('text'), two('.tsv', TABLE), other=(COLUMNS,)),
    'other_names': Case(
        reads('text'),
        two('.csv', TABLE.replace('text', 'review')),
        {'NAME': 'review'},
        other=('--config.task.header', f'{COLUMNS}text_a=0'),
    ),
    'a_pair': Case(reads('text'), two('.csv', 'text,text_b,label\na,b,yes\nc,d,no\n')),
    'a_second_text': Case(
        reads('text'), two('.csv', 'text,more,label\na,it is good,yes\nc,it was bad,no\n')
    ),
    'classes_alike': Case(reads('text'), two('.csv', TABLE + 'film,Yes\n')),
    'classes_alike_by_spaces': Case(reads('text'), two('.csv', TABLE + 'a,not so\nb,Not so\n')),
    'impossible': Case(
        reads('squad1'),
        two(
            '.json', squad(QUESTION, {**QUESTION, 'id': 'r', 'answers': [], 'is_impossible': True})
        ),
    ),
    'conllu': Case(
        reads('tagging'),
        two('.conllu', '1\ta\ta\tDET\n2\tb\tb\tNOUN\n'),
    ),
    'quotes_in_a_tsv': Case(
        reads('text'),
        two('.tsv', 'text\tlabel\n"a ""b"" c"\tyes\n"d ""e"" f"\tno\n'),
        hand={'train.tsv': 'train.csv', 'dev.tsv': 'dev.csv'},
    ),
    'quotes_in_the_header': Case(
        reads('text'),
        two('.tsv', '"text"\t"label"\n"a"\t"yes"\n"b"\t"no"\n'),
        other=(COLUMNS,),
        hand={'train.tsv': 'train.csv', 'dev.tsv': 'dev.csv'},
    ),
    'a_name_twice': Case(
        reads('text'),
        two('.csv', 'text,text,yes\na,b,yes\nc,d,no\n'),
        more=(f'{COLUMNS}text_a=0', f'{COLUMNS}label=2'),
    ),
    'another_ending': Case(
        reads('text', task={'train_file': 'a.dat'}),
        {'a.dat': TABLE, 'dev.csv': TABLE},
        {'CHARACTER': ','},
    ),
    'numbers_as_classes': Case(
        reads('text'),
        two('.csv', 'text,label\n' + ''.join(f'a {i},0.{i}\n' for i in range(10, 50))),
    ),
    'words_with_numbers': Case(
        reads('tagging'), two('.txt', '1 a DET\n2 b NOUN\n\n1 c DET\n2 d NOUN\n'), {'NUMBER': '2'}
    ),
    'a_header_of_words': Case(
        reads('tagging'),
        two('.txt', 'sent word tag\n' + NUMBERED),
        {'words=NAME': 'words=word', 'tags=NAME': 'tags=tag', 'sentence=NAME': 'sentence=sent'},
        hand={'train.txt': 'train.tsv', 'dev.txt': 'dev.tsv'},
        more=('--config.task.separator= ',),
    ),
    'a_column_too_far': Case(
        reads('tagging', task={'columns': {'tags': '7'}}), two('.txt', TAGS), {'NUMBER': '1'}
    ),
    'a_word_a_row': Case(
        reads('tagging'),
        two('.csv', 'n,words,tags\n1,a,DET\n1,b,NOUN\n2,c,DET\n2,d,NOUN\n'),
        {'NAME': 'n'},
    ),
    'a_sentence_a_row': Case(
        reads('tagging'),
        two('.txt', 'w\tt\na b\tDET NOUN\nc d\tDET NOUN\n'),
        {'words=NAME': 'words=w', 'tags=NAME': 'tags=t'},
        hand={'train.txt': 'train.tsv', 'dev.txt': 'dev.tsv'},
        other=('--config.data.on_bad_row',),
    ),
    'tags_as_numbers': Case(reads('tagging'), two('.txt', 'a 0\nb 1\nc 2\nd 0\n\n')),
    'tags_of_no_scheme': Case(
        reads('tagging'),
        two('.txt', 'a B-PER\nb O\nc XYZ\n\nd B-PER\ne O\n'),
        more=('--config.data.on_bad_row=skip',),
    ),
    'tags_without_letters': Case(reads('tagging'), two('.txt', 'a PER\nb O\nc O\nd LOC\n\n')),
    'steps': Case(in_steps(total_steps=5), blanks={'NUMBER': '2'}),
    'stop_at': Case(in_steps(stop_at=5), blanks={'NUMBER': '2'}),
    'warmup_steps': Case(in_steps(optimizer={'warmup_steps': 5}), blanks={'NUMBER': '0.2'}),
    # Corpora.
    'pretty_json': Case(
        builds(source='jsonl:SELF/x.json'),
        {'x.json': '\n'.join(json.dumps(x, indent=1) for x in JSON)},
        other=('--config.data.on_bad_text',),
    ),
    'no_path': Case(builds(path=None), {'a.txt': TEXT}, {'FOLDER': 'SELF/corpus'}),
    'cyrillic': Case(
        builds(source='text:SELF/x*'),
        {'x.txt': 'привет, мир\n\n'.encode('cp1251') * 30},
        {'ENCODING': 'CP1251'},
        other=('--config.data.on_bad_text',),
    ),
    'cyrillic_packed': Case(
        builds(source='text:SELF/x*'),
        {'x.txt.bz2': bz2.compress('привет, мир\n\n'.encode('cp1251') * 30)},
        {'ENCODING': 'CP1251'},
        other=('--config.data.on_bad_text',),
    ),
    'a_few_letters': Case(
        builds(),
        {'x.txt': (TEXT + 'un café noir\n\n' * 2).encode('latin-1')},
        {'ENCODING': 'LATIN1', 'FILE': 'x.txt'},
    ),
    'lzma': Case(
        builds(source='text:SELF/x*'),
        {'x.txt': lzma.compress(TEXT.encode(), format=lzma.FORMAT_ALONE)},
        other=('--config.data.on_bad_text',),
    ),
    'several_corpora': Case(
        builds(path='SELF/a=0.5,SELF/b=0.5'), {'a.txt': TEXT}, {'FOLDER': 'SELF/corpus'}
    ),
    'all_held_out': Case(
        builds(holdout=0.5, source='text:SELF/x.txt', build_seed=SEED),
        {'x.txt': 'one document'},
        other=('--config.data.path',),
    ),
    'long_words': Case(
        builds(source='text:SELF/x.txt', tokenizer={'vocab_size': 30}),
        {'x.txt': '\n\n'.join(''.join(random.Random(i).choices('ACGT', k=300)) for i in range(40))},
    ),
    'fewer_pieces': Case(
        builds(tokenizer={'kind': 'unigram', 'vocab_size': 5000}), {'x.txt': TEXT}, {'N': '40'}
    ),
    'no_vocabulary': Case(
        builds(tokenizer={'path': 'SELF/absent.txt', 'vocab_size': None}),
        {'x.txt': TEXT, 'pieces': VOCAB},
        {'FILE': 'SELF/pieces'},
    ),
    'no_model': Case(
        builds(tokenizer={'kind': 'unigram', 'path': 'SELF/absent.model', 'vocab_size': None}),
        {'x.txt': TEXT, 'a.model': model()},
        {'FILE': 'SELF/a.model'},
    ),
    'a_model_of_another_kind': Case(
        builds(tokenizer={'kind': 'bpe', 'path': 'SELF/a.model', 'vocab_size': None}),
        {'x.txt': TEXT, 'a.model': model()},
    ),
    'a_model_as_wordpiece': Case(
        builds(tokenizer={'path': 'SELF/a.model', 'vocab_size': None}),
        {'x.txt': TEXT, 'a.model': model()},
    ),
    'pieces_with_scores': Case(
        builds(tokenizer={'path': 'SELF/vocab', 'vocab_size': None}),
        {'vocab': VOCAB.replace('\n', '\t0\n'), 'x.txt': TEXT},
    ),
    'cased_vocabulary': Case(
        builds(tokenizer={'path': 'SELF/vocab', 'vocab_size': None}),
        {'vocab': VOCAB + 'Anna\nBob\nRome\nOslo\n', 'x.txt': TEXT},
    ),
    'accents_in_a_vocabulary': Case(
        builds(tokenizer={'path': 'SELF/vocab', 'vocab_size': None}),
        {'vocab': VOCAB + 'é\nè\nà\nü\n', 'x.txt': TEXT},
    ),
    'another_size': Case(
        builds(),
        {'vocab': VOCAB, 'x.txt': TEXT},
        words=('--config.data.tokenizer.path=SELF/vocab', '--config.data.tokenizer.vocab_size=99'),
    ),
    # Conversion.
    'characters_for_transformers': Case(writes_for_transformers, other=('--checkpoint',)),
    # Prediction.
    'table_as_lines': Case(predicts('text'), {'input': TABLE}),
    'json_as_lines': Case(
        predicts('text'), {'input': '{"text": "a"}\n{"text": "b"}\n'}, other=('--format=json ',)
    ),
    'other_column': Case(predicts('text'), {'input.csv': 'review\ngood\n'}, {'NAME': 'review'}),
}

# Advice that no case types -> why; (file, words of the text).
UNTRIED = {
    'Another machine, program, package or device is needed.': (
        ('aot/report.py', '--config.model.remat=full'),
        ('aot/report.py', '--config.optimizer.microbatches='),
        ('aot/report.py', '--config.mesh.data=1 --config.mesh.fsdp='),
        ('aot/report.py', '--config.batch_size='),
        ('aot/topologies.py', 'the TPU compiler (libtpu) is not installed:'),
        ('aot/topologies.py', 'is not a slice that libtpu knows ('),
        ('bench/__main__.py', "what to compare it with: 'transformers' (par"),
        ('bench/job.py', ', allowed: none, since bench measures the st'),
        ('bench/job.py', '--versus_set is for another recipe: type --v'),
        ('bench/job.py', ', which is all that transformers has, not'),
        ('bench/job.py', '--versus=transformers is timed on a CPU or a'),
        ('bench/torch_step.py', ": pip install -e '.[parity]'"),
        ('config/kernels.py', '): type --config.model.attention=xla, or ins'),
        ('core/files.py', ' needs a package that is not installed: type'),
        ('core/formats.py', "sqlite3 {} 'SELECT COLUMN FROM TABLE' > NEW."),
        ('core/formats.py', 'lz4 -d {} NEW.txt'),
        ('core/formats.py', 'gzip -dc {} > NEW.txt'),
        ('core/formats.py', 'zstd -dc'),
        ('core/formats.py', 'unpack it by: unzip'),
        ('core/tfds.py', 'needs the package tensorflow-datasets; type'),
        ('core/tfds.py', 'On a machine with a network, type: pip insta'),
        ('corpus/beam.py', "data.runner is 'beam', which needs Apache Be"),
        ('corpus/hub.py', 'hf download {} --repo-type dataset --local-d'),
        ('corpus/hub.py', 'data.source=hf:... needs the package hugging'),
        ('corpus/parquet.py', 'Parquet files need the package pyarrow; type'),
        ('interop/check.py', '--check compares with transformers and PyTor'),
        ('interop/google_tf.py', "Google's checkpoints are read and written wi"),
        ('interop/probes.py', 'tokenizer not checked against transformers,'),
        ('sweep/table.py', 'no plot: type pip install matplotlib'),
    ),
    'A model, a corpus or a run is needed first, which takes long; no case has it yet.': (
        ('corpus/workers.py', 'a builder process was killed, perhaps becaus'),
        ('data/manifest.py', 'shards were compared with their hashes; --c'),
        ('data/manifest.py', '; build one: python -m electra_jax.prepare -'),
        ('data/manifest.py', ', or build another corpus at another data.pa'),
        ('finetune/glue.py', ': GLUE wants one prediction for every row of'),
        ('finetune/job.py', 'next: python -m electra_jax.predict --checkp'),
        ('finetune/kinds/seq2seq.py', 'type --config.task.decoder.start=encoder or'),
        ('finetune/kinds/seq2seq.py', 'name fewer, or type --config.task.decoder.s'),
        ('finetune/kinds/seq2seq.py', 'with --config.data.tokenizer.lower_case=Fal'),
        ('finetune/run.py', ': type --config.task.decoder.start=fresh'),
        ('finetune/split.py', '--config.task.decoder.target_length=NUMBER'),
        ('model/decoder.py', 'type --config.task.decoder.target_length='),
        ('finetune/job.py', ': --config.job=evaluate makes them'),
        ('finetune/job.py', ': name that file, or another --workdir. Fini'),
        ('finetune/job.py', 'holds a model that was not fine-tuned: fine'),
        ('init_from.py', 'config.init_from is not set: type --config.i'),
        ('init_from.py', 'holds the trials of a fine-tuning run: name'),
        ('init_from.py', 'comes without a vocabulary: type --config.d'),
        ('init_from.py', '): type another --config.data.path, with --c'),
        ('init_from.py', 'type --config.model.max_positions='),
        ('interop/convert.py', 'type --vocab=vocab.txt'),
        ('interop/convert.py', '--config.init_from='),
        ('interop/convert.py', 'python -m electra_jax.main --config=configs/'),
        ('interop/convert.py', ', AutoTokenizer; AutoTokenizer.from_pretrain'),
        ('interop/convert.py', '--config.model.size='),
        ('interop/files.py', 'only, a pickle, which can run code when it'),
        ('interop/google_tf.py', 'heads: give their number with convert --num'),
        ('interop/huggingface.py', 'have: fine-tune with --config.task.head='),
        ('interop/modernbert.py', 'that is pre-trained with --config.model.dis'),
        ('objectives/table.py', ', but there is no generator of its own size'),
        ('predict.py', 'no model is given: type --checkpoint=WORKDIR'),
        ('prepare.py', 'python -m electra_jax.main --config=configs/'),
        ('pretrain/job.py', ': name the run to score with --workdir, or t'),
        ('pretrain/job.py', ': train first (--config.job=pretrain), or na'),
        ('pretrain/text.py', 'config.data.path is not set: type --config.d'),
        ('pretrain/text.py', ', and config.data.source does not name text'),
        ('train/checkpoint.py', 'holds parameters only, and a run cannot con'),
        ('train/health.py', 'The usual fix is a run in another --workdir'),
        ('train/health.py', 'repeats that step and shows where it goes w'),
    ),
    'It shows how something is written, or no case has it yet.': (
        ('finetune/run.py', 'type --config.task.warmup_rate=NUMBER instea'),
        ('runtime/usage.py', '--config.NAME=VALUE'),
        ('pretrain/length.py', 'another speed: type --config.total_steps=NUM'),
        ('runtime/usage.py', '  --config=FILE'),
        ('runtime/usage.py', '  --config='),
        ('config/checks.py', 'to pre-train, --config=configs/small.py, for'),
        ('config/checks.py', ', but config.model.max_positions is'),
        ('config/recipe.py', '; those of the project are in configs/, and'),
        ('core/formats.py', '--config.data.source=parquet:{}'),
        ('corpus/beam.py', ': it is read as the words of a command line,'),
        ('data/pipeline.py', 'a folder and a positive weight are expected'),
        ('finetune/files/lines.py', '--config.data.source=parquet:'),
        ('inference/abilities/detect.py', 'pre-train with --config.objective.name=electra'),
        ('inference/files.py', ', an array, which only --task=embed writes'),
        ('finetune/files/locate.py', '; a prepared TensorFlow dataset is named by'),
        ('finetune/files/predict_input.py', 'and a column are expected, as in --columns='),
        ('finetune/files/predict_input.py', 'looks like the name of a column, and the ta'),
        ('finetune/files/tables.py', 'the name of another is typed as --config.tas'),
        ('finetune/kinds/text.py', 'one text without a tab (two, if --columns=te'),
        ('runtime/cli.py', 'no recipe is given: type --config=configs/ow'),
        ('runtime/cli.py', 'is not understood: settings look like --con'),
        ('runtime/cli.py', 'an unknown flag with a very long name: setti'),
        ('sweep/__main__.py', 'python -m electra_jax.sweep'),
        ('sweep/job.py', '#!/usr/bin/env bash\n# {count} runs, one for'),
        ('sweep/job.py', 'no recipe is given: type --config=configs/sm'),
        ('sweep/plan.py', '--config='),
    ),
}


def tried(
    case: Case, folder: pathlib.Path, words: Sequence[str], command: str | None = None
) -> tuple[str, bool]:
    """The messages of a case in a fresh folder, and whether it was refused."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in case.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    folder.mkdir(exist_ok=True)
    if command:
        subprocess.run(['bash', '-c', command], cwd=folder, check=True)
        (folder / next(iter(case.files))).unlink()
        (made,) = folder.glob('NEW*')
        made.rename(folder / next(iter(case.files)).removesuffix('.gz'))
    if command is not None:
        for old, new in case.hand.items():
            (folder / old).rename(folder / new)
    try:
        return case.act(folder, [word.replace('SELF', str(folder)) for word in words]) or '', False
    except UserError as error:
        return str(error), True


@pytest.mark.parametrize('name', CASES)
def test_what_a_message_tells_to_type_ends_well(tmp_path, name):
    case, folder = CASES[name], tmp_path / 'folder'
    message, _ = tried(case, folder, case.words)
    blanks = {blank: value.replace('SELF', str(folder)) for blank, value in case.blanks.items()}
    settings = advice.settings_in(message, blanks)
    commands = advice.commands_in(message, blanks)
    tries = [*((words, '') for words in settings), *(([], command) for command in commands)]
    tries = [one for one in tries if not ' '.join([*one[0], one[1]]).startswith(case.other)]
    assert tries, message
    for words, command in tries:
        words = [*case.words, *words, *case.more]
        later, was_refused = tried(case, folder, words, command)
        assert not was_refused, (message, words, command, later)
        assert not later or later not in message


def test_all_advice_in_the_source_is_typed_or_listed(tmp_path):
    messages = [tried(case, tmp_path / 'folder', case.words)[0] for case in CASES.values()]
    texts = [one for one in advice.written() if not any(map(one.is_in, messages))]
    listed = {one for group in UNTRIED.values() for one in group}
    found = {
        (file, words)
        for file, words in listed
        for one in texts
        if one.where.startswith(f'electra_jax/{file}:') and words in one.text
    }
    assert listed == found, 'no longer in the source, or typed by a case'
    new = [
        one
        for one in texts
        if not any(one.where.startswith(f'electra_jax/{f}:') and w in one.text for f, w in listed)
    ]
    assert not new, 'add a case'


def test_settings_that_are_named_in_texts_exist():
    known = fields.leaves(Config)
    for one in advice.written():
        for name in re.findall(r'--config\.([a-z_.]+)(?==)', one.text):
            assert name in known, one
