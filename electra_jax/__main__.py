"""All commands as one: ``electra-jax COMMAND ...`` is ``python -m electra_jax.COMMAND ...``.

Examples:
    electra-jax main --config=configs/own.py --config.data.source='text:TEXTS/*.txt'
    electra-jax predict --checkpoint=runs/reviews --input=new.csv
    electra-jax convert --help
"""

import ast
import difflib
import pathlib
import runpy
import sys

COMMANDS = (
    'main', 'prepare', 'predict', 'demo', 'convert', 'export', 'report', 'sweep', 'bench', 'aot',
)  # fmt: skip


def main() -> None:
    """Runs the command that is named first, with the words after it."""
    name, *words = sys.argv[1:] or ['--help']
    if name in ('--help', '-help', '-h', 'help'):
        sys.stdout.write(_text())
        return
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
        hint = f'; did you mean {close[0]}?' if close else ''
        sys.exit(f'error: {name!r} is no command, allowed: {", ".join(COMMANDS)}{hint}')
    # The command sees what it would see if it was started alone, and names itself so.
    sys.argv = [name, *words]
    runpy.run_module(f'electra_jax.{name}', run_name='__main__', alter_sys=True)


def _text() -> str:
    """This help: every command with the first sentence of its own."""
    lines = [str(__doc__).rstrip(), '', 'commands:']
    for name in COMMANDS:
        file = pathlib.Path(__file__).with_name(f'{name}.py')
        file = file if file.exists() else pathlib.Path(__file__).parent / name / '__main__.py'
        about = ast.get_docstring(ast.parse(file.read_text())) or ''
        lines.append(f'  {name:<9} {about.splitlines()[0]}')
    return '\n'.join(lines) + '\n'


if __name__ == '__main__':
    main()
