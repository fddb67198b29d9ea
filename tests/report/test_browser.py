"""The page about runs in a real browser: what is clicked, what is read back, how it looks."""

import pytest
from etils import epath

from electra_jax.report import job
from electra_jax.report.__main__ import parse
from tests.support import browser as browsers
from tests.support.report_runs import EVIL, write_results, write_run

# Texts of charts that are cut off.
OUTSIDE = """() => [...document.querySelectorAll('svg text')].filter(text => {
  const inner = text.getBoundingClientRect(), outer = text.ownerSVGElement.getBoundingClientRect();
  return inner.left < outer.left || inner.right > outer.right || inner.bottom > outer.bottom;
}).map(text => text.textContent)"""

pytestmark = pytest.mark.browser


@pytest.fixture(scope='module')
def browser():
    with browsers.opened_browser() as opened:
        yield opened


@pytest.fixture(scope='module')
def file(tmp_path_factory):
    folder = write_run(tmp_path_factory.mktemp('page') / 'mine')
    write_results(folder)
    job.at_end(epath.Path(folder))
    return folder / 'report.html'


def test_the_slider_moves_through_training(browser, file):
    with browsers.opened_page(browser, file) as page:
        assert page.inner_text('#at') == 'after step 400'
        assert EVIL in page.inner_text('#tokens')  # a text like any other
        first = page.locator('.token').nth(2)
        assert first.evaluate('one => one.style.getPropertyValue("--p")') == '100'
        page.locator('#step').focus()
        page.keyboard.press('ArrowLeft')
        assert page.inner_text('#at') == 'after step 300'
        assert (
            page.locator('.token').nth(2).evaluate('one => one.style.getPropertyValue("--p")')
            == '75'
        )
        assert '1 of 4 tokens were replaced. Mean doubt: 0.90' in page.inner_text('#counts')
        page.click('#texts button >> nth=1')
        assert page.get_attribute('#texts button >> nth=1', 'aria-pressed') == 'true'


def test_curves_are_drawn_over_steps_and_over_time(browser, file):
    with browsers.opened_page(browser, file) as page:
        figure = page.locator('figure').first
        assert 'training step' in figure.locator('svg').text_content()
        assert 'step 400' in figure.locator('.readout').inner_text()
        assert figure.locator('.line').count() == 2
        page.click('#axis button[value=time]')
        assert 'minutes since the start' in figure.locator('svg').text_content()
        figure.locator('summary').click()
        assert 'minus the log of the probability' in figure.inner_text()
        figure.locator('svg').hover(position={'x': 60, 'y': 100})
        assert 'step' not in figure.locator('.readout').inner_text()


def test_what_is_normal_lies_behind_the_curves(browser, file, tmp_path):
    normal, output = f'{tmp_path}/normal.json', f'{tmp_path}/report.html'
    job.run(parse(['--workdir', str(file.parent), f'--save_reference={normal}']))
    job.run(parse(['--workdir', str(file.parent), f'--reference={normal}', f'--output={output}']))
    with browsers.opened_page(browser, tmp_path / 'report.html') as page:
        figure = page.locator('figure').first
        assert figure.locator('polygon.band').count() == 1
        assert 'what is normal' in page.inner_text('main')
        page.click('#axis button[value=time]')  # of which a reference knows nothing
        assert figure.locator('polygon.band').count() == 0


@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('width', [1280, 390])
def test_it_fits_the_screen_and_can_be_read(browser, file, scheme, width):
    with browsers.opened_page(browser, file, width, scheme) as page:
        assert page.evaluate('document.documentElement.scrollWidth') == width
        contrast, text = page.evaluate(browsers.LOWEST_CONTRAST)
        assert contrast >= 4.5, text
        assert page.evaluate(OUTSIDE) == []


def test_paper_is_white(browser, file):
    colours = """() => ['--paper', '--doubt', '--c0', '--rule'].map(
        name => getComputedStyle(document.documentElement).getPropertyValue(name))"""
    with browsers.opened_page(browser, file) as page:
        light = page.evaluate(colours)
    with browsers.opened_page(browser, file, scheme='dark') as page:
        dark = page.evaluate(colours)
        assert not set(dark) & set(light)
        page.emulate_media(media='print')
        assert page.evaluate(colours) == light
        assert page.evaluate(browsers.LOWEST_CONTRAST)[0] >= 4.5
        assert not page.is_visible('#step')


def test_runs_are_hidden_and_shown(browser, tmp_path):
    folders = [write_run(tmp_path / f'run{seed}', seed=seed, level=5.0 + seed) for seed in (0, 1)]
    job.run(parse(['--workdir', *map(str, folders)]))
    with browsers.opened_page(browser, folders[0] / 'report.html') as page:
        lines = page.locator('figure').first.locator('.line')
        assert lines.count() == 4
        page.uncheck('#runs input >> nth=0')
        assert lines.count() == 2
        assert 'run0' not in page.locator('figure .readout').first.inner_text()
        page.select_option('#which', '1')
        assert page.inner_text('#at') == 'after step 400'
