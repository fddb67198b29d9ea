"""A real browser without a window, for tests of pages; skipped where there is none."""

import contextlib
import os
import pathlib
import shutil
from collections.abc import Iterator

import pytest

_PATIENCE = 120_000  # ms; other tests may take all cores
_NAMES = ('chromium', 'chromium-browser', 'google-chrome')


@contextlib.contextmanager
def opened_browser() -> Iterator:
    """Playwright's handle of the machine's Chromium, or of the one that Playwright installed."""
    sync_api = pytest.importorskip(
        'playwright.sync_api', reason="drives a browser: pip install -e '.[browser]'"
    )
    with sync_api.sync_playwright() as playwright:
        own = playwright.chromium.executable_path
        path = next(filter(None, map(shutil.which, _NAMES)), own)
        if not os.path.exists(path):
            pytest.skip('no Chromium is installed: apt-get install chromium')
        arguments = ['--no-sandbox'] if os.getuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def opened_page(
    browser, where: pathlib.Path | str, width: int = 1280, scheme: str = 'light'
) -> Iterator:
    """A page in the browser, of a file or at an address of this machine.

    Whatever it complains about, or asks another host for, is an error.
    """
    problems: list[str] = []
    address = where if isinstance(where, str) else where.absolute().as_uri()
    own = where if isinstance(where, str) else 'file:'
    with contextlib.closing(
        browser.new_page(viewport={'width': width, 'height': 900}, color_scheme=scheme)
    ) as page:
        page.set_default_timeout(_PATIENCE)
        page.on('console', lambda message: problems.append(message.text))
        page.on('pageerror', lambda error: problems.append(str(error)))
        page.on(
            'requestfailed',
            # What another page's opening ends has not failed.
            lambda request: (
                problems.append(request.url) if request.failure != 'net::ERR_ABORTED' else None
            ),
        )
        page.on(
            'request',
            lambda request: (
                problems.append(request.url)
                if request.url.startswith('http') and not request.url.startswith(own)
                else None
            ),
        )
        page.goto(address)
        yield page
        assert not problems, problems


# The contrast of each visible text with what is behind it (WCAG 2): [contrast, text] of the lowest.
LOWEST_CONTRAST = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
  const known = {};
  const measured = colour => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const channels = colour => (known[colour] ??= measured(colour));
  const over = ([r, g, b, a], below) => [r, g, b].map((x, i) => x * a + below[i] * (1 - a));
  const behind = element => {
    const colours = [];
    for (let at = element; at; at = at.parentElement) {
      colours.unshift(channels(getComputedStyle(at).backgroundColor));
    }
    return colours.reduce((below, colour) => over(colour, below), [255, 255, 255]);
  };
  const luminance = rgb => {
    const linear = x => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = rgb.map(x => linear(x / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  let lowest = [99, ''];
  for (const element of document.querySelectorAll('main *')) {
    const isText = node => node.nodeType === 3 && node.textContent.trim();
    if (![...element.childNodes].some(isText) || !element.getClientRects().length) continue;
    const style = getComputedStyle(element), below = behind(element);
    const colour = element.namespaceURI.includes('svg') ? style.fill : style.color;
    const text = over(channels(colour), below);
    const [dark, light] = [luminance(text), luminance(below)].sort((a, b) => a - b);
    const contrast = (light + 0.05) / (dark + 0.05);
    if (contrast < lowest[0]) lowest = [contrast, element.textContent.slice(0, 60)];
  }
  return lowest;
}"""
