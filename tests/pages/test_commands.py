"""Every command of README and of the documentation is typed, at a tiny size, or is listed."""

import csv
import itertools
import json
import os
import pathlib
import random
import re
import shlex
import shutil
import subprocess

import pytest
from etils import epath

from electra_jax.config import fields
from electra_jax.config.settings import Config
from electra_jax.finetune.task import of_kind
from electra_jax.train import parameters
from tests.support import pages, task_files, trained
from tests.support.report_runs import write_run

ROOT = pages.ROOT
# The changelog has the commands of the past.
READ = [page for page in pages.PAGES if page.name != 'CHANGELOG.md']
TO_TYPE = [
    page
    for page in READ
    if str(page.relative_to(ROOT)) not in pages.OTHERS
    and any(one.reason is None for one in pages.typed(page))
]


def name_of(page: pathlib.Path) -> str:
    return str(page.relative_to(ROOT))


def every() -> list[pages.Typed]:
    return [one for page in READ for one in pages.typed(page)]


def test_every_reason_has_a_command_and_every_page_on_the_list_exists():
    texts = [one.text for one in every()]
    assert [what for what in pages.CANNOT if not any(re.search(what, one) for one in texts)] == []
    assert [name for name in pages.OTHERS if not (ROOT / name).exists()] == []
    tests = [name for name in pages.OTHERS.values() if name.startswith('tests/')]
    assert all((ROOT / name).exists() for name in tests)


def test_most_commands_are_typed():
    """The list of what cannot be typed stays short."""
    commands = [one for page in TO_TYPE for one in pages.typed(page) if one.reason is None]
    assert len(commands) > 90
    assert len([one for one in every() if one.reason]) < len(commands)


@pytest.mark.parametrize('page', READ, ids=name_of)
def test_settings_of_commands_have_values_that_they_may_have(page):
    """Those of commands that are never typed, too."""
    leaves = fields.leaves(Config)
    for one in pages.typed(page):
        for name, value in re.findall(r"--config\.([\w.]+)=('[^']*'|\S*)", one.text):
            if name in ('KEY', 'NAME') or value.strip("'") in ('None', 'VALUE', '...'):
                continue
            if value.isupper() or '$' in value:
                continue  # a name that stands for the reader's
            leaves[name].checked(leaves[name].parse(value.strip("'")))


# ---- What a reader has


def write_table(path: pathlib.Path, header: list[str], rows: list) -> None:
    with path.open('w', newline='') as file:
        writer = csv.writer(file, delimiter='\t' if path.suffix == '.tsv' else ',')
        writer.writerows([header, *rows])


def write_tasks(folder: pathlib.Path) -> None:
    """Rows of each file that a page names."""
    writers = {
        'squad': task_files.write_spans, 'pairs': task_files.write_pairs,
        'reviews': task_files.write_text,
        'names': task_files.write_tags, 'mine': task_files.write_parallel,
        'mails': task_files.write_documents,
    }  # fmt: skip
    for name, write in writers.items():
        (folder / name).mkdir()
        write(folder / name)
    for name in ('train', 'dev'):
        (folder / 'squad' / f'{name}.json').rename(folder / 'squad' / f'{name}-v1.1.json')
        (folder / 'mine' / f'{name}.xx').rename(folder / 'mine' / f'{name}.de')
    shutil.copy(folder / 'reviews' / 'train.csv', folder / 'mine' / 'reviews.csv')
    (folder / 'scores').mkdir()
    draw = random.Random(0)
    texts = [' '.join(task_files.sentence(draw, 4)) for _ in range(80)]
    pairs = list(itertools.pairwise(texts))
    for name in ('STS-B', 'SST-2', 'RTE', 'MRPC', 'BABYLM', 'blimp'):
        (folder / name).mkdir()
    header = ['sentence1', 'sentence2', 'score']
    write_table(
        folder / 'STS-B' / 'dev.tsv', header, [[*two, i % 5] for i, two in enumerate(pairs)]
    )
    for name in ('train', 'dev'):
        scores = [[text, i % 5] for i, text in enumerate(texts)]
        write_table(folder / 'scores' / f'{name}.csv', ['text', 'label'], scores)
        rows = [[text, i % 2] for i, text in enumerate(texts)]
        write_table(folder / 'SST-2' / f'{name}.tsv', ['sentence', 'label'], rows)
        rows = [[i, *two, ('entailment', 'not_entailment')[i % 2]] for i, two in enumerate(pairs)]
        head = ['index', 'sentence1', 'sentence2', 'label']
        write_table(folder / 'RTE' / f'{name}.tsv', head, rows)
        rows = [[i, *two, i % 2] for i, two in enumerate(pairs)]
        for file, columns in (('mnli', 'premise hypothesis'), ('qqp', 'question1 question2')):
            names = ('idx', *columns.split(), 'label')
            path = folder / 'BABYLM' / f'{file}.{name.replace("dev", "valid")}.jsonl'
            path.write_text(
                ''.join(f'{json.dumps(dict(zip(names, row, strict=True)))}\n' for row in rows)
            )
        head = ['Quality', '#1 ID', '#2 ID', '#1 String', '#2 String']
        write_table(
            folder / 'MRPC' / f'{name}.tsv', head, [[label, i, i, *two] for i, *two, label in rows]
        )
    for name in ('GLUE', 'GLUE_FOLDER'):
        (folder / name).mkdir()
        for task in ('SST-2', 'RTE', 'MRPC'):
            shutil.copytree(folder / task, folder / name / task)
    shutil.copy(folder / 'SST-2' / 'dev.tsv', folder)
    rows = [{'sentence_good': a, 'sentence_bad': b} for a, b in pairs]
    lines = ''.join(f'{json.dumps(row)}\n' for row in rows)
    (folder / 'blimp' / 'agreement.jsonl').write_text(lines)
    rows = [{'id': i // 4, 'text': text} for i, text in enumerate(texts)]
    (folder / 'hypotheses.jsonl').write_text(''.join(f'{json.dumps(row)}\n' for row in rows))
    write_table(folder / 'new.csv', ['text'], [[text] for text in texts[:6]])
    (folder / 'texts.txt').write_text('\n'.join(texts[:5]) + '\n')
    (folder / 'new.en').write_text('they saw anna in rome\nbob was here\n')
    (folder / 'new.txt').write_text('the film was so good. it was in rome.\n')


@pytest.fixture(scope='module')
def reader(tmp_path_factory, environment):
    """The folder in which pages are typed: recipes, text, rows of tasks; nothing is trained."""
    folder = tmp_path_factory.mktemp('reader')
    for name in ('configs', 'models', 'launch'):
        (folder / name).symlink_to(ROOT / name)
    write_tasks(folder)
    draw = random.Random(1)
    (folder / 'texts').mkdir()
    words = task_files.WORDS
    documents = [' '.join(draw.choices(words, k=draw.randint(20, 60))) for _ in range(300)]
    (folder / 'texts' / 'one.txt').write_text('\n\n'.join(documents) + '\n')
    task = of_kind('classification', 48, labels='bad,good')
    small = {'size': 'small', 'max_positions': 64}
    for name, found in {
        'mine': trained.found(model=small),
        'base': trained.found(model=small),
        'reviews': trained.found(('encoder',), task, model=small),
    }.items():
        path = epath.Path(folder / 'lent' / name)
        parameters.write_params(path, found.params, dict(found.about))
    runs = ('one', 'two', 'seed0', 'seed1', 'sweeps/quickstart/seed=0')
    for number, name in enumerate(runs):
        write_run(folder / 'lent' / name, seed=number % 2)
    for step in range(1, 5):
        checkpoints = folder / 'lent' / 'mine' / 'checkpoints'
        shutil.copytree(checkpoints / '0', checkpoints / str(step))
    for name in ('mine', 'base'):
        shutil.copy(folder / 'lent' / 'one' / 'metrics.jsonl', folder / 'lent' / name)
    (folder / 'vocab.txt').write_text('\n'.join(trained.TOKENIZER.pieces) + '\n')
    for name in ('electra-small', 'theirs'):
        words = f'-m electra_jax.convert --source=ours:lent/mine --target=huggingface:{name}'
        command = [pathlib.Path(environment['PATH'].partition(os.pathsep)[0]) / 'python']
        subprocess.run([*command, *words.split()], cwd=folder, env=environment, check=True)
    return folder


@pytest.fixture(scope='module')
def environment(tmp_path_factory):
    with pages.python(tmp_path_factory.mktemp('server')) as found:
        yield found


def script(page: pathlib.Path) -> str:
    """What is typed of a page, as one program of bash that names each command."""
    lines = ['set -euo pipefail']
    for one in pages.typed(page):
        if one.reason is None:
            text = one.text.replace('/my/texts', 'texts').replace('.txt.gz', '.txt')
            is_program = one.language == 'python'
            text = f"python - <<'END_OF_PROGRAM'\n{text}END_OF_PROGRAM" if is_program else text
            lines += [f'echo {shlex.quote(f":: {one.text.splitlines()[0]}")} >&2', text]
    return '\n'.join(lines) + '\n'


def is_made(run: str, page: pathlib.Path) -> bool:
    """Whether a page makes a run before it uses it."""
    named = [one.text for one in pages.typed(page) if re.search(rf'{run}\b', one.text)]
    return (
        bool(named) and re.search(rf'electra_jax\.main .*--workdir={run}\b', named[0]) is not None
    )


# ---- What some pages' commands must leave and print


def lines_of(path: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def check_applications(folder: pathlib.Path, printed: dict[str, str]) -> None:
    def of(word: str) -> str:
        return next(text for command, text in printed.items() if word in command)

    assert '| dev | 79 |' in of('--task=similarity') and 'spearman' in of('--task=similarity')
    assert 'bm25_recall_at_20' in of('--task=retrieve')
    assert 'dev/mrr' in of('squad_retrieval') and 'BM25' in of('squad_retrieval')
    assert 'shuffled_labels' in of('--task=zero_shot')
    assert 'fresh: nothing' in of('squad_retrieval')
    few = of('--config.task.head=prompt')
    assert 'fresh: nothing; not used: generator' in few and "head: the discriminator's" in few
    assert 'file | rows | generator, % | discriminator, % | shorter, %' in of('--scorer=all')
    for name in ('retrieval', 'pairs', 'few'):
        assert (folder / 'runs' / name / 'results.json').exists()


def check_finetuning(folder: pathlib.Path, printed: dict[str, str]) -> None:
    sources = [row['source'] for row in lines_of(folder / 'new.jsonl')]
    assert sources == ['they saw anna in rome', 'bob was here']
    (row,) = lines_of(folder / 'extracts.jsonl')
    assert row['prediction'] in ('the film was so good.', 'it was in rome.')
    assert (folder / 'runs' / 'mean' / 'checkpoints').is_dir()


def check_babylm(folder: pathlib.Path, printed: dict[str, str]) -> None:
    trained = next(text for command, text in printed.items() if 'electra_jax.main' in command)
    assert ' words in ' in trained and 'corpora/babylm ' in trained
    assert 'kept for good: 3 checkpoints in ' in trained
    checkpoints = [path.name for path in (folder / 'runs' / 'babylm' / 'checkpoints').iterdir()]
    assert len(checkpoints) >= 3
    assert all((folder / f'pairs-{step}.jsonl').exists() for step in checkpoints)
    lines = lines_of(folder / 'runs' / 'babylm' / 'metrics.jsonl')
    assert 0 < lines[-1]['progress/words_read'] <= 500
    for name, runs in {'mnli': 2, 'qqp': 2, 'glue': 4}.items():
        results = (folder / 'runs' / 'sweeps' / f'babylm-{name}').glob('*/results.json')
        assert len(list(results)) == runs


CHECKS = {
    'docs/how-to/babylm.md': check_babylm,
    'docs/applications.md': check_applications,
    'docs/finetuning.md': check_finetuning,
}


@pytest.mark.slow
@pytest.mark.parametrize('page', TO_TYPE, ids=name_of)
def test_the_commands_of_a_page_work(page, reader, environment, tmp_path):
    folder = tmp_path / 'here'
    shutil.copytree(reader, folder, symlinks=True)
    typed = script(page)
    (folder / 'runs').mkdir()
    for lent in (folder / 'lent').iterdir():
        if not is_made(f'runs/{lent.name}', page):
            lent.rename(folder / 'runs' / lent.name)
    done = subprocess.run(
        ['bash', '-c', typed], cwd=folder, env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=3600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f'{typed}\n{done.stdout[-7000:]}'
    _, *parts = re.split(r'^:: (.*)\n', done.stdout, flags=re.M)
    if check := CHECKS.get(name_of(page)):
        check(folder, dict(zip(parts[::2], parts[1::2], strict=True)))
