"""Every module can be imported, and none imports what its library deprecates."""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.parent
# A program of its own, for packages that not everybody has.
OPTIONAL = {'electra_jax.bench.torch_step'}
PROGRAM = """
import importlib, sys, warnings
from absl import flags
known = set(flags.FLAGS)
with warnings.catch_warnings(record=True) as heard:
    warnings.simplefilter('always')
    for name in sys.argv[2:]:
        importlib.import_module(name)
        for flag in set(flags.FLAGS) - known:  # two commands may have flags of one name
            delattr(flags.FLAGS, flag)
ours = [str(one) for one in heard if one.filename.startswith(sys.argv[1])]
sys.exit('\\n'.join(ours) or 0)
"""


def imports(package: pathlib.Path, names: list[str]) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, '-c', PROGRAM, str(package), *names],
        capture_output=True, text=True, cwd=package.parent, check=False,
    )  # fmt: skip


def test_every_module_is_imported_without_a_deprecation_warning():
    package = ROOT / 'electra_jax'
    paths = (path.relative_to(ROOT).with_suffix('') for path in package.rglob('*.py'))
    names = {'.'.join(path.parts).removesuffix('.__init__') for path in paths}
    done = imports(package, sorted(names - OPTIONAL))
    assert done.returncode == 0, done.stderr


def test_a_deprecated_import_is_seen(tmp_path):
    package = tmp_path / 'package'
    package.mkdir()
    (package / 'old.py').write_text(
        'import warnings\nwarnings.warn("gone soon", DeprecationWarning, stacklevel=2)\n'
    )
    (package / 'user.py').write_text('import package.old\n')
    done = imports(package, ['package.user'])
    assert done.returncode != 0
    assert 'gone soon' in done.stderr
