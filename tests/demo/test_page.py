"""The page in the browser."""

import socket
import time
import types
from unittest import mock

import pytest

from electra_jax.core.errors import ConfigError
from electra_jax.demo import page
from electra_jax.demo.tabs import TABS
from electra_jax.inference.loaded import LoadedModel
from electra_jax.runtime import terminal
from tests.support import trained


def test_a_port_that_is_taken_is_refused_with_another(monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: name)
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f'--port={port} .*--port={port + 1}'):
            page.serve('runs/mine', '127.0.0.1', port)


@pytest.mark.parametrize('host', ['::1', '192.0.2.1'])
def test_an_address_of_another_machine_is_refused(host, monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: name)
    with pytest.raises(ConfigError, match=f'--host={host} .*--host=127.0.0.1'):
        page.serve('runs/mine', host, 7860)


def test_ctrl_c_ends_the_page_in_good_order(monkeypatch, capsys):
    closed = []

    class Page:
        def launch(self, **settings):
            pass

        def close(self, verbose):
            closed.append(True)

    class Event:
        def wait(self):
            raise KeyboardInterrupt

    monkeypatch.setattr('importlib.util.find_spec', lambda name: name)
    monkeypatch.setattr(page, '_gradio', mock.MagicMock())
    monkeypatch.setattr(page.files, 'open_model', lambda *arguments: None)
    monkeypatch.setattr(page, 'build', lambda model: time.sleep(0.1) or Page())
    monkeypatch.setattr(terminal, 'LINE_SECONDS', 0.01)
    monkeypatch.setattr(page, 'threading', types.SimpleNamespace(Event=Event))
    page.serve('runs/mine', '127.0.0.1', 7869)  # returns, so that the status is 0
    err = capsys.readouterr().err
    assert closed and 'opening the model: 0s so far' in err and 'Ctrl-C ends it' in err


def test_without_gradio_the_extra_is_named(monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install -e '\.\[demo\]'"):
        page.serve('runs/mine', '127.0.0.1', 7860)


def test_a_tab_is_there_for_each_thing_and_says_what_is_lacking():
    pytest.importorskip('gradio')
    found = page.build(LoadedModel(trained.found(('encoder', 'generator')), 8))
    blocks = found.get_config_file()['components']
    titles = [one['props']['label'] for one in blocks if one['type'] == 'tabitem']
    assert sorted(titles) == sorted(tab.title for tab in TABS)
    assert titles[0] == 'Fill the mask', 'what works stands first'
    shown = [str(one['props'].get('value')) for one in blocks if one['type'] == 'html']
    assert sum('was not fine-tuned' in text for text in shown) == 1
