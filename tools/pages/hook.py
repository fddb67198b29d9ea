"""What mkdocs asks while it builds the site (mkdocs.yml): pages from elsewhere in the repository.

Pages are written for GitHub, whose links go through the whole repository. Here a link to a page of
the site leads to it, wherever its file is, and a link to any other file is shown as its path.
"""

import pathlib
import posixpath
import re
import sys
from typing import Any

from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

from electra_jax.runtime import usage  # noqa: E402

# Files outside docs/ that are pages of the site, and where.
ELSEWHERE = {
    'README.md': 'overview.md',
    'CHANGELOG.md': 'CHANGELOG.md',
    'CONTRIBUTING.md': 'CONTRIBUTING.md',
    'benchmarks/RESULTS.md': 'benchmarks/RESULTS.md',
    'benchmarks/small-over-batch_size.md': 'benchmarks/small-over-batch_size.md',
    'benchmarks/small-over-batch_size.png': 'benchmarks/small-over-batch_size.png',
    'benchmarks/small-over-num_layers.md': 'benchmarks/small-over-num_layers.md',
    'benchmarks/small-over-num_layers.png': 'benchmarks/small-over-num_layers.png',
    'launch/README.md': 'launch/README.md',
    'models/README.md': 'models/README.md',
    'tools/faults/README.md': 'tools/faults/README.md',
    'tools/fuzz/README.md': 'tools/fuzz/README.md',
}
SETTINGS = 'reference/settings.md'
_LINK = re.compile(r'(!?)\[([^\]]*)\]\(([^)\s]+)\)')
_FENCE = re.compile(r'^( *)```.*?^\1```', re.S | re.M)


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages that are not in docs/."""
    for source, page in ELSEWHERE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    files.append(File.generated(config, SETTINGS, content=settings_page()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page with its links as the site has them."""
    if page.is_homepage:
        page.meta['hide'] = ['navigation', 'toc']
    return in_site(markdown, page.file.src_uri)


def settings_page() -> str:
    """Every setting of a run with its default and its meaning, from the code."""
    return (
        '# Settings\n\nA setting is changed on the command line by `--config.NAME=VALUE`, and in a '
        'recipe by its place in the dictionary. What is unset follows from something else, as its '
        'meaning says, or is off.\n\n' + usage.settings_markdown()
    )


def in_site(markdown: str, page: str) -> str:
    """The text of a page of the site, its links between files of the repository followed."""
    folder = posixpath.dirname(page)
    sources = {name: path for path, name in ELSEWHERE.items()}
    here = posixpath.dirname(sources.get(page, f'docs/{page}'))

    def followed(match: re.Match[str]) -> str:
        mark, text, target = match.groups()
        path, hash_, anchor = target.partition('#')
        if not path or re.match('[a-z]+:', path):
            return match[0]
        path = posixpath.normpath(posixpath.join(here, path))
        if path in ELSEWHERE:
            name = ELSEWHERE[path]
        elif path.startswith('docs/'):
            name = path.removeprefix('docs/')
        else:  # a file or folder of the code
            return f'{text} (`{path}`)'
        return f'{mark}[{text}]({posixpath.relpath(name, folder or ".")}{hash_}{anchor})'

    # Code stays as it is.
    parts, end = [], 0
    for fence in _FENCE.finditer(markdown):
        parts += [_LINK.sub(followed, markdown[end : fence.start()]), fence[0]]
        end = fence.end()
    return ''.join([*parts, _LINK.sub(followed, markdown[end:])])
