"""Links, paths, modules, commands and settings that README, docs and the like name exist."""

import functools
import importlib.util
import pathlib
import re
import subprocess

import pytest

from electra_jax.config import fields, settings
from tests.support.pages import PAGES

ROOT = pathlib.Path(__file__).parent.parent
# The changelog names what is gone; adding.md names what its reader makes.
READ = [path for path in PAGES if path.name != 'CHANGELOG.md']
MADE_BY_THE_READER = (
    'repeats', 'early', 'ordinal', 'oddest', 'sqlite', 'bytes', 'corpora/', 'runs/', 'NAME',
)  # fmt: skip


def name_of(path: pathlib.Path) -> str:
    return str(path.relative_to(ROOT))


@functools.cache
def anchors(path: pathlib.Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r'^```.*?^```', '', path.read_text(), flags=re.S | re.M)
    headings = re.findall(r'^#+ (.*)$', text, re.M)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_links_between_pages_resolve(page):
    broken = []
    for target in re.findall(r'\]\(([^)\s]+)\)', page.read_text()):
        if target.startswith(('http:', 'https:')):
            continue
        name, _, anchor = target.partition('#')
        path = (page.parent / name) if name else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(target)
    assert broken == []


def tracked() -> set[str]:
    done = subprocess.run(
        ['git', 'ls-files', '--cached', '--others', '--exclude-standard'],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip('not a git checkout')
    return set(done.stdout.splitlines())


def expanded(name: str) -> list[str]:
    """`a_{b,c}.py` as a_b.py and a_c.py."""
    match = re.fullmatch(r'(.*)\{(.*)\}(.*)', name)
    if match is None:
        return [name]
    return [match[1] + middle + match[3] for middle in match[2].split(',')]


@pytest.mark.parametrize('page', READ, ids=name_of)
def test_paths_exist(page):
    """Paths below the repository's own folders, and those that the reading path shortens."""
    files, missing = tracked(), []
    below = r'(?:electra_jax|configs|launch|tests|tools|docs|benchmarks)'
    text = page.read_text()
    for name in re.findall(rf'(?<![\w./])({below}/[\w./*{{}},-]*[\w}}/])', text):
        if any(made in name for made in MADE_BY_THE_READER):
            continue
        for one in expanded(name.rstrip('/')):
            found = list(ROOT.glob(one)) if '*' in one else [ROOT / one]
            if not any(path.exists() for path in found):
                missing.append(one)
    for name in re.findall(r'`((?:[a-z_]+/)+[a-z_]+\.py)`', text):
        if any(made in name for made in MADE_BY_THE_READER):
            continue
        if not any(file == name or file.endswith('/' + name) for file in files):
            missing.append(name)
    assert missing == []


@pytest.mark.parametrize('page', READ, ids=name_of)
def test_modules_exist(page):
    text = page.read_text()
    names = re.findall(r'python3? -m ((?:electra_jax|tools)[\w.]*\w)', text)
    names += re.findall(r'(?<![\w/])(electra_jax(?:\.\w+)+)', text)
    missing = []
    for name in sorted(set(names) - {'electra_jax.x.y'}):
        if name.rsplit('.', 1)[-1] in MADE_BY_THE_READER:
            continue
        if not is_there(name):
            missing.append(name)
    assert missing == []


def test_modules_that_moved_exist():
    table = (ROOT / 'CHANGELOG.md').read_text().split('### Modules that moved')[1].split('\n## ')[0]
    rows = [line.strip('|').split('|') for line in table.splitlines() if line.startswith('| `')]
    names = []
    for _, now in rows:
        without_contents = re.sub(r' \(`.*?(?:`|\.\.\.)\)', '', now)
        names += [name.removesuffix('.*') for name in re.findall(r'`([\w.*]+)`', without_contents)]
    assert len(names) >= len(rows) > 20
    assert [name for name in names if not is_there(f'electra_jax.{name}')] == []


def is_there(name: str) -> bool:
    """Whether a dotted name is a module, or an attribute of one."""
    try:
        if importlib.util.find_spec(name):
            return True
    except ModuleNotFoundError:
        pass
    module, _, attribute = name.rpartition('.')
    try:
        return bool(module) and hasattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError:
        return False


@pytest.mark.parametrize('page', READ, ids=name_of)
def test_settings_exist(page):
    known = set(fields.leaves(settings.Config))
    groups = {name.rpartition('.')[0] for name in known}
    named = set(
        re.findall(r'(?<![\w.{])(?:--)?config\.([a-z_][a-z0-9_.]*[a-z0-9_])', page.read_text())
    )
    # `config.recipe` and the like are modules of the package electra_jax.config.
    modules = {path.stem for path in (ROOT / 'electra_jax' / 'config').glob('*.py')}
    files = {'py', 'json'}
    unknown = {
        name
        for name in named
        if name not in known
        and name not in groups
        and name.partition('.')[0] not in modules | files
    }
    assert unknown == set()


def test_the_readme_is_short():
    assert len((ROOT / 'README.md').read_text().splitlines()) <= 200


def test_extras_that_the_pages_install_exist():
    import tomllib

    project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
    for page in READ:
        for listed in re.findall(r"'?\.\[([\w,-]+)\]'?", page.read_text()):
            for extra in listed.split(','):
                assert extra in project['optional-dependencies'], f'{page}: {extra}'
    # pip 23 does not find an extra whose name is not normalized (PEP 685), and goes on.
    for extra in project['optional-dependencies']:
        assert re.fullmatch('[a-z0-9]+(-[a-z0-9]+)*', extra), extra
