"""The commands of docs/applications.md, typed as they stand there, on tiny files."""

import itertools
import json
import os
import pathlib
import random
import re
import subprocess
import sys

import pytest
from etils import epath

from electra_jax.train import checkpoint
from tests.support import task_files, trained
from tests.support.recipes import ENVIRONMENT, ROOT

PAGE = (ROOT / 'docs' / 'applications.md').read_text()
BLOCKS = re.findall(r'^```bash\n(.*?)^```', PAGE, re.DOTALL | re.MULTILINE)
COMMANDS = [
    line
    for block in BLOCKS
    for line in block.replace('\\\n', '').splitlines()
    if not line.startswith('#')
]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A checkpoint that is not trained at all, and a few rows of each file that the page names."""
    folder = tmp_path_factory.mktemp('page')
    (folder / 'configs').symlink_to(ROOT / 'configs')
    found = trained.found(model={'max_positions': 64})
    checkpoint.write_params(epath.Path(folder / 'runs' / 'mine'), found.params, dict(found.about))
    for name in ('squad', 'pairs', 'STS-B', 'SST-2', 'blimp'):
        (folder / name).mkdir()
    task_files.write_spans(folder / 'squad')
    for name in ('train', 'dev'):
        (folder / 'squad' / f'{name}.json').rename(folder / 'squad' / f'{name}-v1.1.json')
    task_files.write_pairs(folder / 'pairs')
    draw = random.Random(0)
    texts = [' '.join(task_files.sentence(draw, 4)) for _ in range(80)]
    (folder / 'texts.txt').write_text('\n'.join(texts[:5]) + '\n')
    rows = [f'{a}\t{b}\t{i % 5}' for i, (a, b) in enumerate(itertools.pairwise(texts))]
    header = 'sentence1\tsentence2\tscore'
    (folder / 'STS-B' / 'dev.tsv').write_text('\n'.join([header, *rows]) + '\n')
    for name in ('train', 'dev'):
        rows = [f'{text}\t{i % 2}' for i, text in enumerate(texts)]
        text = '\n'.join(['sentence\tlabel', *rows]) + '\n'
        (folder / 'SST-2' / f'{name}.tsv').write_text(text)
    rows = ({'sentence_good': a, 'sentence_bad': b} for a, b in itertools.pairwise(texts))
    lines = ''.join(f'{json.dumps(row)}\n' for row in rows)
    (folder / 'blimp' / 'agreement.jsonl').write_text(lines)
    return folder


@pytest.mark.slow  # nine commands
def test_the_commands_of_the_page_work(folder):
    environment = {**ENVIRONMENT, 'PYTHONPATH': str(ROOT)}
    environment['PATH'] = f'{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    printed = {}
    assert len(COMMANDS) == 10
    for command in COMMANDS:
        done = subprocess.run(
            ['bash', '-c', command], cwd=folder, env=environment, capture_output=True, text=True,
            timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, f'{command}\n{done.stdout[-2000:]}{done.stderr[-3000:]}'
        printed[command] = done.stdout + done.stderr

    def of(word):
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
