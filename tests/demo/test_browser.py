"""The page of the demo as a person meets it: the command, a browser, questions and answers."""

import os
import pathlib
import socket
import subprocess
import sys

import pytest
from etils import epath

from electra_jax.train import parameters
from tests.support import browser as browsers
from tests.support import trained
from tests.support.recipes import ENVIRONMENT, ROOT

pytestmark = pytest.mark.browser


def free_port() -> int:
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        return one.getsockname()[1]


@pytest.fixture(scope='module')
def served(tmp_path_factory):
    """The address of the page of a pre-trained model, and the processor's seconds until then."""
    pytest.importorskip('gradio', reason="needs the extra 'demo'")
    folder, found = tmp_path_factory.mktemp('demo'), trained.found()
    parameters.write_params(epath.Path(folder / 'mine'), found.params, dict(found.about))
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, '-m', 'electra_jax.demo', f'--checkpoint={folder}/mine', f'--port={port}'],
        cwd=ROOT, env={**os.environ, **ENVIRONMENT}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        printed = []
        for line in process.stderr:
            printed.append(line)
            if ' answers after ' in line:
                break
        else:
            pytest.fail(''.join(printed))
        spent = pathlib.Path(f'/proc/{process.pid}/stat').read_text().rpartition(')')[2].split()
        seconds = sum(map(int, spent[11:13])) / os.sysconf('SC_CLK_TCK')
        yield f'http://127.0.0.1:{port}', seconds
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.fixture(scope='module')
def browser():
    with browsers.opened_browser() as opened:
        yield opened


def test_it_answers_within_ten_seconds(served):
    assert served[1] < 10  # of a processor: other tests may take it meanwhile


def test_it_answers_this_machine_alone_unless_another_host_is_typed(served):
    listening = {line.split()[1] for line in pathlib.Path('/proc/net/tcp').read_text().splitlines()}
    port = f':{int(served[0].rpartition(":")[2]):04X}'
    assert {one for one in listening if one.endswith(port)} == {'0100007F' + port}


def ask(page) -> None:
    page.get_by_role('button', name='Ask', exact=True).click()


def test_what_is_asked_is_answered_and_what_is_lacking_is_a_sentence(browser, served):
    with browsers.opened_page(browser, served[0]) as page:
        page.wait_for_selector('button[role=tab]:has-text("Replaced tokens")')
        box = page.get_by_label('Sentence', exact=True)
        box.fill('anna saw <b>good</b> films')
        ask(page)
        page.wait_for_selector('mark >> nth=0')
        assert 'anna saw <b>good</b> films' in page.locator('.electra:visible').inner_text()
        assert page.locator('mark[title$="%"]').count() >= 4
        page.click('button[role=tab]:has-text("Fill the mask")')
        page.get_by_label('Sentence with [MASK]').fill('anna [MASK] films')
        ask(page)
        page.wait_for_selector('.bar:visible')
        page.get_by_label('Sentence with [MASK]').fill('no mask')
        ask(page)
        page.wait_for_selector('.electra:visible:has-text("[MASK]"):not(:has(.bar))')
        page.click('button[role=tab]:has-text("Labels without training")')
        ask(page)
        page.wait_for_selector('.answer:visible')
        page.click('button[role=tab]:has-text("Answer")')
        page.wait_for_selector(':text("was not fine-tuned"):visible')
        assert 'Traceback' not in page.content()
