"""Programs that show metrics: what they get, and that none of them can stop a run."""

import importlib.machinery
import json
import sys
import types

import pytest
from etils import epath

from electra_jax.core.errors import ConfigError
from electra_jax.train import metrics, trackers


class Package(types.ModuleType):
    """What a run uses of trackio and of wandb."""

    def __init__(self, name):
        super().__init__(name)
        self.__spec__ = importlib.machinery.ModuleSpec(name, None)
        self.opened, self.logged, self.finished, self.fails = [], [], 0, False

    def init(self, *project, **settings):
        self.opened.append(settings)
        return self

    def log(self, values, step):
        if self.fails:
            raise ConnectionError('the service is away\nfor long')
        self.logged.append((step, values))

    def finish(self):
        self.finished += 1


@pytest.fixture
def packages(monkeypatch):
    found = {name: Package(name) for name in ('trackio', 'wandb')}
    for name, package in found.items():
        monkeypatch.setitem(sys.modules, name, package)
    monkeypatch.setenv('WANDB_MODE', 'offline')
    return found


def open_metrics(folder, start, printed):
    folder.mkdir(exist_ok=True)
    (folder / 'config.json').write_text('{"config": {"seed": 3}}')
    return metrics.Metrics(epath.Path(folder), start, 'trackio,wandb', printed.append)


def test_all_of_them_get_the_metrics_and_know_the_run_again(tmp_path, packages):
    printed = []
    for start in (0, 5, 0):
        writer = open_metrics(tmp_path / 'mine', start, printed)
        writer.write(start + 1, {'train/loss': 2.0, 'train/grad_norm': float('nan')})
        writer.close()
    for package in packages.values():
        assert package.logged == [(step, {'train/loss': 2.0}) for step in (1, 6, 1)]
        assert package.finished == 3
        assert all(one['config'] == {'seed': 3} for one in package.opened)
        assert all(one['resume'] == 'allow' for one in package.opened)
    names = [one['name'] for one in packages['trackio'].opened]
    assert names[0] == names[1] != names[2] and names[0].startswith('mine-')
    ids = [one['id'] for one in packages['wandb'].opened]
    assert [f'mine-{one}' for one in ids] == names
    assert printed == []


def test_one_that_fails_costs_a_line_and_nothing_else(tmp_path, packages):
    packages['trackio'].fails = True
    printed = []
    writer = open_metrics(tmp_path / 'mine', 0, printed)
    for step in (1, 2, 3):
        writer.write(step, {'train/loss': 1.0})
    writer.close()
    (line,) = printed
    assert line.startswith('trackio ') and '(the service is away)' in line
    assert len(packages['wandb'].logged) == 3 and packages['trackio'].finished == 0
    lines = (tmp_path / 'mine' / 'metrics.jsonl').read_text().splitlines()
    assert [json.loads(one)['step'] for one in lines] == [1, 2, 3]


def test_one_that_does_not_open_is_left_out(tmp_path, packages, monkeypatch):
    monkeypatch.delattr(Package, 'init')
    printed = []
    writer = open_metrics(tmp_path / 'mine', 0, printed)
    writer.write(1, {'train/loss': 1.0})
    writer.close()
    assert len(printed) == 2


def test_what_cannot_work_is_refused(tmp_path, packages, monkeypatch):
    assert trackers.check(' tensorboard, wandb,wandb') == ('tensorboard', 'wandb')
    assert trackers.check('') == ()
    with pytest.raises(ConfigError, match=r"'mlflow', allowed: tensorboard, trackio, wandb"):
        trackers.check('tensorboard,mlflow')
    monkeypatch.setenv('HOME', str(tmp_path))
    for name in trackers._KEYS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv('NETRC', raising=False)
    with pytest.raises(ConfigError, match='wandb login'):
        trackers.check('wandb')
    monkeypatch.setenv('NETRC', str(tmp_path))  # which cannot be read
    (tmp_path / '.netrc').write_bytes(b'\xff\n')
    with pytest.raises(ConfigError, match='wandb login'):
        trackers.check('wandb')
    (tmp_path / '.netrc').write_text('machine api.wandb.ai\n  login user\n')
    assert trackers.check('wandb') == ('wandb',)
    monkeypatch.setattr(trackers.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install -e '\.\[trackio\]'"):
        trackers.check('trackio')
