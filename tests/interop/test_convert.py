"""The door, in one process: what is typed, what is said, what is on disk."""

import json

import jax
import numpy as np
import pytest
from absl.testing import flagsaver
from etils import epath

from electra_jax import convert
from electra_jax.core.errors import CheckpointError, ConfigError
from electra_jax.interop import huggingface_files, load
from electra_jax.train import checkpoint
from tests.interop import fakes


@pytest.fixture(autouse=True)
def parsed():
    """absl's flags as if the command line had been read, and put back afterwards."""
    if not convert.absl_flags.FLAGS.is_parsed():
        convert.absl_flags.FLAGS(['convert'])
    with flagsaver.flagsaver():
        yield


@pytest.fixture
def ours(tmp_path):
    params, model = fakes.params(fakes.model()), fakes.model()
    loaded = load.Loaded(params, model, 'electra', fakes.tokenizer(), None, None, None)
    convert.write_ours(convert.Place('google', tmp_path), tmp_path / 'ours', loaded)
    return tmp_path / 'ours'


def run(source, target, **changes):
    with flagsaver.flagsaver(source=str(source), target=str(target), **changes):
        convert.main()


def test_ours_to_hugging_face_and_back(ours, tmp_path, capsys):
    run(f'ours:{ours}', f'huggingface:{tmp_path / "hf"}')
    said = capsys.readouterr().out
    assert 'generator separate, shared embeddings' in said
    assert 'ElectraForPreTraining' in said and 'ElectraForMaskedLM' in said
    assert f"AutoModel.from_pretrained('{tmp_path / 'hf' / 'discriminator'}')" in said
    run(f'huggingface:{tmp_path / "hf"}', f'ours:{tmp_path / "back"}')
    said = capsys.readouterr().out
    assert f'--config.init_from={tmp_path / "back"}' in said
    assert '--config.model.size=tiny --config.model.num_layers=4' in said
    assert '--config.model.norm=post' in said and 'generator_width' not in said  # that of tiny
    before, about = checkpoint.read_params(epath.Path(ours))
    after, about_after = checkpoint.read_params(epath.Path(tmp_path / 'back'))
    fakes.assert_same(before, after)
    assert about['tokenizer'] == about_after['tokenizer']
    sizes = ('num_layers', 'hidden_size', 'embedding_size', 'generator_width', 'generator')
    old, new = (one['config']['model'] for one in (about, about_after))
    assert {s: old[s] for s in sizes} == {s: new[s] for s in sizes}
    assert about_after['converted_from'] == f'huggingface:{tmp_path / "hf"}'
    assert (tmp_path / 'back' / 'tokenizer' / 'vocab.txt').is_file()
    assert not [p.name for p in tmp_path.iterdir() if p.name.startswith('.')]


def test_ours_to_google_and_back(ours, tmp_path, capsys):
    pytest.importorskip('tensorflow', reason='needs the tf extra')
    run(f'ours:{ours}', f'google:{tmp_path / "google"}')
    assert 'electra/embeddings/' in capsys.readouterr().out
    run(f'google:{tmp_path / "google"}', f'huggingface:{tmp_path / "hf"}')
    said = capsys.readouterr().out
    assert 'no capital letters: text is lower-cased' in said and 'missing' not in said
    loaded = load.load_foreign('huggingface', tmp_path / 'hf')
    fakes.assert_same(checkpoint.read_params(epath.Path(ours))[0], loaded.params)


def test_what_is_missing_is_said(ours, tmp_path, capsys):
    run(f'ours:{ours}', f'huggingface:{tmp_path / "hf"}')
    run(f'huggingface:{tmp_path / "hf" / "discriminator"}', f'ours:{tmp_path / "one"}')
    assert 'missing there: generator, generator_head' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('source', 'target', 'said'),
    [
        ('', 'ours:x', "--source is '', allowed: KIND:PATH"),
        ('google', 'ours:x', "--source is 'google', allowed: KIND:PATH"),
        ('gogle:x', 'ours:y', "did you mean 'google'"),
        ('google:x', 'google:y', 'both of kind google'),
        ('google:x', 'ours:x', 'lie in one another'),
        ('google:x', 'ours:x/y', 'lie in one another'),
    ],
)
def test_ends_that_make_no_sense_are_refused(source, target, said):
    with pytest.raises(ConfigError, match=said):
        run(source, target)


def test_nothing_is_written_over(ours, tmp_path):
    target = tmp_path / 'hf'
    run(f'ours:{ours}', f'huggingface:{target}')
    before = {p: p.read_bytes() for p in target.rglob('*') if p.is_file()}
    with pytest.raises(CheckpointError, match='is not empty'):
        run(f'ours:{ours}', f'huggingface:{target}')
    (target / 'thesis.txt').write_text('years of work')
    with pytest.raises(CheckpointError, match=r'thesis.txt'):
        run(f'ours:{ours}', f'huggingface:{target}', overwrite=True)
    assert (target / 'thesis.txt').read_text() == 'years of work'
    (target / 'thesis.txt').unlink()
    (target / 'config.json').write_text('{}')
    run(f'ours:{ours}', f'huggingface:{target}', overwrite=True)
    assert {p: p.read_bytes() for p in target.rglob('*') if p.is_file()} == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ['hf', 'ours']


def test_a_full_disk_leaves_nothing_half_written(ours, tmp_path, monkeypatch):
    def fail(folder, network):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(huggingface_files, 'write_folder', fail)
    with pytest.raises(OSError, match='No space'):
        run(f'ours:{ours}', f'huggingface:{tmp_path / "hf"}')
    assert [p.name for p in tmp_path.iterdir()] == ['ours']


def test_a_refused_conversion_leaves_the_target_alone(ours, tmp_path):
    params, about = checkpoint.read_params(epath.Path(ours))
    params['discriminator']['norm'] = {'scale': np.ones(128, np.float32)}
    checkpoint.write_params(epath.Path(tmp_path / 'pre'), params, about)
    target = tmp_path / 'hf'
    run(f'ours:{ours}', f'huggingface:{target}')
    before = sorted(p.name for p in tmp_path.rglob('*'))
    with pytest.raises(CheckpointError, match=r"config.model.norm='pre'"):
        run(f'ours:{tmp_path / "pre"}', f'huggingface:{target}', overwrite=True)
    assert sorted(p.name for p in tmp_path.rglob('*')) == before


def test_a_source_without_a_vocabulary_is_refused(ours, tmp_path):
    target = tmp_path / 'hf'
    run(f'ours:{ours}', f'huggingface:{target}')
    for name in ('vocab.txt', 'tokenizer.json'):
        (target / 'discriminator' / name).unlink()
    with pytest.raises(CheckpointError, match=r'no vocabulary beside .*put its vocab.txt there'):
        run(f'huggingface:{target / "discriminator"}', f'ours:{tmp_path / "x"}')


def test_a_checkpoint_of_another_version_is_refused(ours, tmp_path):
    params, about = checkpoint.read_params(epath.Path(ours))
    about['config']['model']['flux'] = 1
    checkpoint.write_params(epath.Path(tmp_path / 'other'), params, about)
    with pytest.raises(CheckpointError, match=r"another version.*'flux'"):
        run(f'ours:{tmp_path / "other"}', f'huggingface:{tmp_path / "x"}')


def test_a_fine_tuned_model_keeps_its_task_and_labels(ours, tmp_path):
    params, about = checkpoint.read_params(epath.Path(ours))
    dense = {'kernel': np.ones((128, 2), np.float32), 'bias': np.ones(2, np.float32)}
    keep = ('embeddings', 'discriminator')
    params = {**{name: params[name] for name in keep}, 'task_head': {'output': dense}}
    checkpoint.write_params(epath.Path(tmp_path / 'qa'), params, about)
    with pytest.raises(ConfigError, match='--task_head'):
        run(f'ours:{tmp_path / "qa"}', f'huggingface:{tmp_path / "hf"}')
    run(f'ours:{tmp_path / "qa"}', f'huggingface:{tmp_path / "hf"}', task_head='spans')
    config = json.loads((tmp_path / 'hf' / 'config.json').read_text())
    assert config['architectures'] == ['ElectraForQuestionAnswering']
    run(f'huggingface:{tmp_path / "hf"}', f'ours:{tmp_path / "back"}')
    back, about = checkpoint.read_params(epath.Path(tmp_path / 'back'))
    assert about['task_head']['kind'] == 'spans'
    fakes.assert_same(back, jax.tree.map(np.asarray, params))
