"""The documentation as a site: built without a network, and opened in a real browser."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

from tests.support import browser as browsers

ROOT = pathlib.Path(__file__).parent.parent.parent
# Any request would fail.
NOWHERE = dict.fromkeys(('http_proxy', 'https_proxy', 'all_proxy'), 'http://127.0.0.1:9')
# Texts of drawings and of pages that are cut off.
OUTSIDE = """() => [...document.querySelectorAll('main article *')].filter(one => {
  const box = one.getBoundingClientRect(), style = getComputedStyle(one);
  const scrolls = one.closest('pre, code, .md-typeset__scrollwrap, .doc-signature');
  return box.width && !scrolls && style.position != 'absolute' && box.right > innerWidth + 1;
}).map(one => one.outerHTML.slice(0, 120))"""


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    pytest.importorskip('mkdocs', reason="builds the site: pip install -e '.[site]'")
    folder = tmp_path_factory.mktemp('site') / 'pages'
    done = subprocess.run(
        [sys.executable, '-m', 'mkdocs', 'build', '--strict', '--site-dir', folder],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, **NOWHERE}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope='module')
def browser():
    with browsers.opened_browser() as opened:
        yield opened


@pytest.mark.browser
def test_pages_ask_no_other_host_and_leave_no_markdown_unread(site):
    files = sorted(site.rglob('*.html'))
    assert len(files) > 30
    for file in files:
        text = file.read_text()
        loaded = re.findall(r'<(?:script|img|iframe)[^>]* src="([^"]*)"', text)
        loaded += re.findall(r'<link[^>]* href="([^"]*)"', text)
        assert [one for one in loaded if re.match('(?:[a-z]+:)?//', one)] == [], file
        written = re.sub(r'<(pre|code|script|style)\b.*?</\1>', '', text, flags=re.S)
        for unread in ('](', '| --- |', '<p>- ', '\n- ', ':::', '```'):
            assert unread not in written, f'{file}: {unread}'


@pytest.mark.browser
def test_settings_and_docstrings_are_pages(site):
    settings = (site / 'reference' / 'settings.html').read_text()
    assert '<code>model.size</code>' in settings and 'tiny, small, base' in settings
    functions = (site / 'reference' / 'api.html').read_text()
    assert 'electra_jax.inference.loaded.LoadedModel.fill_mask' in functions
    assert 'Opens a trained model, which encodes' in functions


@pytest.mark.browser
@pytest.mark.parametrize('width', [1280, 390])
def test_a_reader_finds_a_page_by_the_search_and_by_links(browser, site, width):
    with browsers.opened_page(browser, site / 'index.html', width) as page:
        assert 'electra_jax' in page.inner_text('h1')
        page.click('article a:has-text("A laptop") >> nth=0')
        page.wait_for_selector('h1:has-text("A laptop")')
        assert page.url.endswith('tutorials/laptop.html')
        if width < 1000:
            page.click('label[for=__search] >> nth=0')
        page.click('input.md-search__input')
        page.keyboard.type('released weights')
        title = 'has-text("Continue from released weights")'
        page.locator(f'.md-search-result__link:{title}').first.click()
        page.wait_for_selector(f'h1:{title}')


@pytest.mark.browser
@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize(
    ('name', 'width'),
    [('index', 1280), ('index', 390), ('tutorials/laptop', 390), ('reference/api', 1280)],
)
def test_it_fits_the_screen_and_can_be_read(browser, site, name, width, scheme):
    with browsers.opened_page(browser, site / f'{name}.html', width, scheme) as page:
        assert page.evaluate('document.documentElement.scrollWidth') == width
        contrast, text = page.evaluate(browsers.LOWEST_CONTRAST)
        assert contrast >= 4.5, text
        assert page.evaluate('[...document.images].every(one => one.naturalWidth > 0)')


@pytest.mark.browser
def test_every_page_fits_a_phone(browser, site):
    """Tables and code can be scrolled; nothing else is wider than the screen."""
    names = sorted(str(file.relative_to(site)) for file in site.rglob('*.html'))
    names.remove(
        '404.html'
    )  # shown at any address, so it finds its files from a server's root only
    with browsers.opened_page(browser, site / 'index.html', 390) as page:
        for name in names:
            page.goto((site / name).as_uri(), wait_until='domcontentloaded')
            assert page.evaluate(OUTSIDE) == [], name
