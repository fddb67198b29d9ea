"""The page about runs: what is on it, that nothing in it can run, and what it costs."""

import dataclasses
import html.parser
import json
import pathlib
import re
import time
import types

import pytest
from etils import epath

from electra_jax import main
from electra_jax.config import recipe
from electra_jax.core.errors import DataError
from electra_jax.finetune import job as finetuning
from electra_jax.pretrain import job as pretraining
from electra_jax.report import (
    cells,
    comparison,
    curves,
    differences,
    facts,
    job,
    page,
    reference,
    sentences,
)
from electra_jax.report.__main__ import parse
from electra_jax.runtime import compiled, malloc
from electra_jax.train import example_lines, runs
from electra_jax.train.clock import EVALUATING, TRAINING, Clock, Start
from tests.support.clocks import FakeClock
from tests.support.report_runs import EVIL, METRICS, write_results, write_run

ROOT = pathlib.Path(__file__).parent.parent.parent


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / 'mine')


def data_of(text):
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])


class Tags(html.parser.HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.text = [], [], ''
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ('src', 'href')]

    def handle_data(self, data):
        self.text += data


def test_a_page_has_everything_and_only_its_own_scripts(folder):
    write_results(folder)
    text = page.page([runs.read(epath.Path(folder))], reference.NOTHING)
    seen = Tags(text)
    assert seen.tags.count('script') == 2 and seen.addresses == ['data:,']
    assert EVIL not in text and EVIL in seen.text  # as text: of the remark, the source, the task
    assert 'http' not in text.replace('http-equiv', '').replace('http://www.w3.org/2000/svg', '')
    for expected in (
        '400', 'of 400', '81.25', 'Fine-tuning', 'trivial answer', 'total_steps', 'abc',
        'FLOP by the count', 'eight chips', 'generator 7', 'command line', 'eval/disc_auc',
    ):  # fmt: skip
        assert expected in seen.text, expected
    data = data_of(text)
    shown = {sentence[0] for chart in data['charts'] for sentence in chart['meaning']}
    assert set(METRICS) - shown <= {
        'train/skipped', 'eval/unigram_loss', 'eval/sampled_top_share',
        'eval/disc_precision', 'eval/disc_recall', 'eval/disc_fake_share', 'speed/elapsed',
        'speed/steps_per_second',
    }  # fmt: skip
    (texts,) = data['sentences']
    assert texts['steps'] == [100, 200, 300, 400]
    assert texts['texts'][1][0] == [
        ['the', '', 10, 1], [EVIL, 'cat', 90, 1], ['s', '', 50, 0], ['&amp;', '', 0, 1],
    ]  # fmt: skip


def test_settings_name_where_they_come_from(tmp_path):
    run = runs.read(epath.Path(write_run(tmp_path / 'mine', minutes=2.0, seed=7)))
    rows = {
        row[0].text: [cell.text for cell in row[1:]] for row in differences.differences(run).rows
    }
    assert rows['seed'] == ['7', '0', 'recipe, or chosen'] and rows['minutes'][0] == '2'
    assert rows['total_steps'] == ['400', '1000000', 'command line']
    quiet = dataclasses.replace(run, about={**run.about, 'command': []})
    rows = {row[0].text: row[3].text for row in differences.differences(quiet).rows}
    assert rows['total_steps'] == 'minutes' and 'model.num_layers' not in rows
    usual = runs.read(epath.Path(write_run(tmp_path / 'usual', seed=0)))
    usual.about['command'].append('--config.seed=0')
    rows = {row[0].text: row[3].text for row in differences.differences(usual).rows}
    assert rows['seed'] == 'command line', 'typed, though it is the default'


def test_the_goodput_is_that_of_the_last_line_of_the_run(tmp_path):
    folder, now = epath.Path(write_run(tmp_path / 'mine')), FakeClock()
    clock = Clock(folder, now, age=10.0)
    clock.start_from(0)
    clock.enter(TRAINING)
    clock.begin_step(400)
    now.now += 50
    clock.enter(EVALUATING)  # after the last step: the metrics of no step know of it
    now.now += 40
    line = clock.goodput_line()
    tiles = dict(facts.tiles(runs.read(folder)))
    assert line.startswith('50.0%') and tiles['Time'].note.startswith('50.0%')
    assert tiles['Time'].text == '1m40s'


def test_a_run_that_was_stopped_before_its_first_line_of_metrics_has_its_steps(tmp_path):
    folder = epath.Path(write_run(tmp_path / 'mine'))
    (folder / 'metrics.jsonl').write_text('')
    starts = [Start(0, 180, 9.0, 9.0)._asdict(), Start(100, 150, 9.0, 9.0)._asdict()]
    (folder / 'goodput.json').write_text(json.dumps({'starts': starts}))
    run = runs.read(folder)
    assert run.last_step == 150  # those up to 180 are lost, and done again
    assert dict(facts.tiles(run))['Training steps'].text == '150'
    rows = {row[0].text: row[1].text for row in facts.about(run).rows}
    assert rows['Work'] != '0 tokens'


def test_the_words_that_a_run_has_read_are_on_its_page(tmp_path):
    folder = epath.Path(write_run(tmp_path / 'mine'))
    about = json.loads((folder / 'config.json').read_text())
    about['corpora'][0]['train_words'] = 123_456
    (folder / 'config.json').write_text(json.dumps(about))
    line = {'step': 400, 'progress/epochs': 2.5, 'progress/words_read': 308_640.0}
    (folder / 'metrics.jsonl').write_text(json.dumps(line))
    rows = {row[0].text: row[1].note for row in facts.about(runs.read(folder)).rows}
    assert '308,640 words of it' in rows['Work'] and '123,456 words in them' in rows['Text']


def test_the_policy_allows_the_script_and_the_style_of_the_page(folder):
    text = page.page([runs.read(epath.Path(folder))], reference.NOTHING)
    policy = re.search(r'Security-Policy" content="(.*?)"', text)[1]
    style, script = re.search(r'<style>(.*?)</style>', text, re.S)[1], text.split('<script>')[1]
    assert f"style-src '{page._hash(style)}'" in policy
    assert f"script-src '{page._hash(script.split('</script>')[0])}'" in policy


def test_several_runs_are_compared_by_what_differs(tmp_path):
    for seed in (0, 1):
        write_run(tmp_path / f'run{seed}', level=5.0 + seed, seed=seed)
    found = runs.find([tmp_path])
    assert [run.name for run in found] == ['run0', 'run1']
    table = comparison.comparison(found)
    assert table.columns[:3] == ['run', 'seed', 'steps'] and table.rows[1][1].text == '1'
    sections = curves.sections(found, reference.NOTHING)
    chart = sections[0]['charts'][0]
    assert [curve['run'] for curve in chart['curves']] == [0, 0, 1, 1]
    assert chart['level'] is None  # word frequencies differ between the texts
    assert 'Each AUC' in table.about and 'tokenizers' not in table.about
    path = tmp_path / 'run1' / 'config.json'
    path.write_text(path.read_text().replace('"abc"', '"def"'))
    assert 'different tokenizers' in comparison.comparison(runs.find([tmp_path])).about
    assert {one['run'] for one in sentences.sentences(found)} == {0, 1}
    assert 'type="checkbox"' in page.page(found, reference.NOTHING)


def test_curves_of_tasks_have_the_scale_of_their_scores(tmp_path):
    lines = [
        {'step': step, 'finetune/x/accuracy': step / 8, 'finetune/x/mse': 0.5} for step in (4, 6)
    ]
    (tmp_path / 'metrics.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines))
    ((share, other),) = [
        one['charts'] for one in curves.sections(runs.find([tmp_path]), reference.NOTHING)
    ]
    assert share['unit'] == 'times 100' and share['curves'][0]['y'] == [50.0, 75.0]
    assert other['unit'] == "the score's, squared" and other['curves'][0]['y'] == [0.5, 0.5]


def test_a_folder_without_a_run_is_refused_and_damaged_files_are_left_out(tmp_path, folder):
    with pytest.raises(DataError, match=re.escape(f'{tmp_path}/none')):
        runs.find([tmp_path / 'none'])
    (folder / 'config.json').write_text('{"config": ')
    (folder / 'results.json').write_text('[]')
    start = '{"first": 0, "last": 9, "seconds": "x", "training": 1.0}'
    (folder / 'goodput.json').write_text(f'{{"starts": [{start}]}}')
    example = '{"step": 3, "examples": [{"tokens": ["a"], "originals": ["a"], "doubts": [%s]}]}\n'
    (folder / 'examples.jsonl').write_text(
        '{"step": 1}\n{"step": 2, "examples": [{}]}\n[]\n'
        + ''.join(example % doubt for doubt in ('NaN', 10**400, '2.0'))
    )
    (folder / 'metrics.jsonl').write_text(
        '7\n{"step": 1, "train/loss": "x"}\n{"step": 2, "train/loss": NaN}\n{"step": 3}\n'
        f'{{"step": 4, "train/loss": {10**400}}}\n'
    )
    with (folder / 'metrics.jsonl').open('ab') as file:
        file.write(b'{"step": 5, "train/l\xff": 1}\n')
    (run,) = runs.find([folder])
    assert run.metrics == [{'step': 3}] and run.about == run.results == {}
    assert run.examples == run.starts == []
    assert 'no two points' in page.page([run], reference.NOTHING)
    (folder / 'results.json').write_text('{"summary": {"dev/accuracy": 1}, "trials": []}')
    with pytest.raises(DataError, match=r'config.json or results.json in .*mine holds something'):
        job.write(runs.find([folder]), None, folder / 'report.html')


def test_examples_of_steps_that_are_done_again_are_replaced(tmp_path):
    def one(word):
        return example_lines.Example([word, '\u2028'], ['a', '\u2028'], [0.5, 0.0])

    for step, word in ((1, 'one'), (2, 'two'), (3, 'three'), (2, 'again')):
        example_lines.add(epath.Path(tmp_path), step, [one(word)])
    found = example_lines.read(tmp_path)
    assert found == [(1, [one('one')]), (2, [one('again')])]


def test_a_reference_is_what_runs_measured(tmp_path):
    found = [
        runs.read(epath.Path(write_run(tmp_path / str(level), level=level))) for level in (5.0, 6.0)
    ]
    reference.write(tmp_path / 'normal.json', found)
    normal = reference.read(tmp_path / 'normal.json')
    band = normal.bands['eval/mlm_loss']
    (about, _) = json.loads((tmp_path / 'normal.json').read_text())['runs']
    assert about['command'].startswith('python -m electra_jax.main --config=configs/quickstart.py')
    assert band.x[0] == 20 and band.x[-1] == 400
    low, high = (run.last('eval/mlm_loss') for run in found)
    assert (band.low[-1], band.high[-1]) == pytest.approx((low, high), rel=1e-4)
    chart = curves.sections(found[:1], normal)[0]['charts'][0]
    assert chart['reference']['low'] == band.low
    assert chart['reference']['x'] == band.x  # of the same number of steps
    text = page.page(found[:1], normal)
    assert normal.tokens_per_step and f'400 steps and {400 * normal.tokens_per_step:,}' in text
    longer = runs.read(epath.Path(write_run(tmp_path / 'longer', steps=800)))
    chart = curves.sections([longer], normal)[0]['charts'][0]
    assert (chart['reference']['x'][0], chart['reference']['x'][-1]) == (40, 800)
    assert 'stretched to 800 steps' in page.page([longer], normal)
    curve = '{"format": "electra_jax reference curves", "curves": {"a": %s}, "total_steps": %s}'
    good = '{"x": [1, 2], "low": [1, 1], "high": [1, 1]}'
    (tmp_path / 'good.json').write_text(curve % (good, 9))
    assert reference.read(tmp_path / 'good.json').total_steps == 9
    damaged_curves = (
        '1',
        '{"x": [1], "low": [NaN], "high": [1]}',
        '{"x": [2, 1], "low": [1, 1], "high": [1, 1]}',
    )
    none = '{"format": "electra_jax reference curves", "curves": {}}'
    odd = curve % (good, '"9"')
    for damaged in ('{}', '[', none, odd, *(curve % (one, 9) for one in damaged_curves)):
        (tmp_path / 'damaged.json').write_text(damaged)
        with pytest.raises(DataError, match=r'damaged\.json'):
            reference.read(tmp_path / 'damaged.json')


@pytest.mark.parametrize(
    ('other', 'named'),
    [
        ({'steps': 800}, 'config.total_steps: 400 in one, 800 in other'),
        ({'batch_size': 7}, 'config.batch_size: .* 7 in other'),
        ({'optimizer': {'learning_rate': 0.5}}, 'config.optimizer.learning_rate: .* 0.5 in other'),
        ({'eval': {'rows': 3}}, 'config.eval.rows: .* 3 in other'),
        ({'text': 'def'}, "the hash of the text: 'abc x 1' in one, 'def x 1' in other"),
    ],
)
def test_a_reference_of_several_recipes_is_refused(tmp_path, other, named):
    text = other.pop('text', None)
    write_run(tmp_path / 'one', seed=0)
    write_run(tmp_path / 'other', seed=1, **other)
    if text:
        path = tmp_path / 'other' / 'config.json'
        path.write_text(path.read_text().replace('"abc"', f'"{text}"'))
    with pytest.raises(DataError, match=named):
        reference.write(tmp_path / 'normal.json', runs.find([tmp_path]))
    assert not (tmp_path / 'normal.json').exists()


def test_curves_of_a_reference_are_of_the_steps_that_all_runs_have(tmp_path, capsys):
    folders = [write_run(tmp_path / name, seed=seed) for seed, name in enumerate('ab')]
    lines = [(folder / 'metrics.jsonl').read_text().splitlines() for folder in folders]

    def write(keep_a, keep_b):
        for folder, of_run, keep in zip(folders, lines, (keep_a, keep_b), strict=True):
            kept = [
                line for line in of_run if keep(json.loads(line.partition('{"torn')[0] or '{}'))
            ]
            (folder / 'metrics.jsonl').write_text('\n'.join(kept) + '\n')
        words = ['--workdir', *map(str, folders), f'--save_reference={tmp_path}/normal.json']
        job.run(parse(words))

    with pytest.raises(DataError, match=r'no curve has .* \(a 220 to 400, b 20 to 200\)'):
        write(lambda x: x.get('step', 0) > 200, lambda x: 0 < x.get('step', 0) <= 200)
    with pytest.raises(DataError, match=r'config\.log\.every_steps'):
        write(lambda x: x.get('step') == 60, lambda x: x.get('step') == 60)
    write(lambda x: x.get('step', 0) > 100, lambda x: 0 < x.get('step', 0) <= 200)
    for band in reference.read(tmp_path / 'normal.json').bands.values():
        assert (band.x[0], band.x[-1]) == (120, 200) and len(band.x) > 2
    assert 'note' not in capsys.readouterr().out
    (folders[0] / 'metrics.jsonl').write_text(
        ''.join(f'{{"step": {at}, "train/mlm_loss": {at}}}\n' for at in (100, 200, 300))
    )
    found = runs.find(folders)
    assert 'eval/mlm_loss' in reference.write(tmp_path / 'normal.json', found)
    assert list(reference.read(tmp_path / 'normal.json').bands) == ['train/mlm_loss']


def test_the_command_writes_the_page_and_a_reference(folder, tmp_path, capsys):
    normal = f'{tmp_path}/normal.json'
    job.run(parse(['--workdir', str(folder), f'--save_reference={normal}']))
    job.run(parse(['--workdir', str(folder), f'--reference={normal}']))
    assert (folder / 'report.html').read_text().count('"low":') > 5
    printed = capsys.readouterr().out
    assert f'report: {folder}/report.html (' in printed and 'kB; 1 run)' in printed


def test_a_report_that_fails_is_a_warning(folder, monkeypatch):
    assert job.at_end(epath.Path(folder)) == f'report: {folder}/report.html'
    (folder / 'report.html').unlink()
    (folder / 'report.html').mkdir()
    assert job.at_end(epath.Path(folder)).startswith('warning: no report.html: ')


@pytest.mark.parametrize(
    ('changes', 'is_written'),
    [
        ({}, True),
        ({'log': {'report': False}}, False),
        ({'job': 'evaluate'}, False),
        ({'job': 'finetune', 'task': {'name': 'sst2'}}, True),
    ],
)
def test_runs_end_with_their_page_unless_a_setting_turns_it_off(
    tmp_path, monkeypatch, changes, is_written
):
    monkeypatch.setattr(main, 'WORKDIR', types.SimpleNamespace(value=str(tmp_path)))
    monkeypatch.setattr(main.cli, 'typed_settings', lambda flag: ())
    monkeypatch.setattr(compiled, 'keep', lambda where: None)
    monkeypatch.setattr(malloc, 'compute_in_main_thread', lambda: None)
    ran, written = [], []
    for module in (finetuning, pretraining):
        monkeypatch.setattr(module, 'run', lambda *arguments: ran.append(arguments))
    monkeypatch.setattr(job, 'at_end', lambda folder: written.append(folder) or '')
    main.main(recipe.recipe({'log': {'trackers': ''}, **changes}))
    assert len(ran) == 1 and bool(written) == is_written


def test_a_long_run_is_small_and_quick(tmp_path):
    folder = write_run(tmp_path / 'long', steps=40_000, evaluations=80)
    began = time.process_time()
    job.at_end(epath.Path(folder))
    assert time.process_time() - began < 2
    assert (folder / 'report.html').stat().st_size < 600_000


@pytest.mark.parametrize(
    ('value', 'shown'), [(0.5, '0.5'), (12345.6, '12,346'), (7, '7'), (5.62e13, '56.2 trillion')]
)
def test_numbers_are_written_for_people(value, shown):
    assert cells.number(value) == shown


@pytest.mark.parametrize(
    'file', sorted(ROOT.glob('configs/references/*.json')), ids=lambda x: x.stem
)
def test_a_reference_of_the_project_is_of_a_recipe(file):
    normal = reference.read(file)
    assert normal.total_steps and normal.tokens_per_step and 'eval/disc_auc' in normal.bands
    assert recipe.load(ROOT / 'configs' / f'{file.stem}.py').log.reference == str(
        file.relative_to(ROOT)
    )
    assert '/' not in re.sub(r'\w+/[\w*.]+', '', file.read_text())  # names of folders of a machine


def test_the_page_of_a_fine_tuning_has_what_was_chosen_and_its_files(tmp_path):
    start, rate = f'{tmp_path}/mine/checkpoints/10', {'learning_rate': 5e-4}
    changes = {'job': 'finetune', 'optimizer': rate, 'task': {'name': 'text'}}
    folder = epath.Path(write_run(tmp_path / 'tuned', **changes))
    write_results(tmp_path / 'tuned')
    predictions = folder / 'trials' / '0' / 'predictions'
    predictions.mkdir(parents=True)
    (predictions / 'dev "1".png').write_text('')
    run = runs.read(folder)
    run.about['config']['init_from'] = start
    run.about['command'].append(f'--config.init_from={tmp_path}/mine')
    run.about.update({'examples': {'train': 12, 'dev': 4}, 'labels': ['bad', EVIL]})
    rows = {row[0].text: row[1:] for row in differences.differences(run).rows}
    assert rows['init_from'][:2] == [(start, f'typed: {tmp_path}/mine'), (cells.NOTHING, '')]
    assert rows['optimizer.learning_rate'][0].text == '0.0005'
    run.results['summary']['dev/accuracy']['standard_error'] = 0.0625
    seen = Tags(page.page([run], reference.NOTHING, in_workdir=True))
    assert seen.addresses[1:] == ['trials/0/predictions/dev%20%221%22.png']
    for expected in ('train 12, dev 4', f'bad, {EVIL}', '6.25', 'with head', '7 parameters'):
        assert expected in seen.text, expected
    job.write([run], None, tmp_path / 'elsewhere.html')
    assert 'href="trials' not in (tmp_path / 'elsewhere.html').read_text()
    job.write([run], None, folder / 'report.html')
    assert 'href="trials' in (folder / 'report.html').read_text()
