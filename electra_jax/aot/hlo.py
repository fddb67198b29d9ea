"""Optimized HLO as text, read into computations, instructions and arrays.

What XLA prints of a compiled program (`compiled.as_text()`) is the only complete account of which
arrays there are and in which memory, what each loop repeats, and what travels between devices.
Only what these questions need is read; the rest stays text.
"""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

# Bytes of an element by HLO's name of its type.
ITEM_BYTES: dict[str, float] = {
    'pred': 1, 's8': 1, 'u8': 1, 's16': 2, 'u16': 2, 'bf16': 2, 'f16': 2, 's32': 4, 'u32': 4,
    'f32': 4, 's64': 8, 'u64': 8, 'f64': 8, 'c64': 8, 'c128': 16, 's4': 0.5, 'u4': 0.5,
    'f8e4m3fn': 1, 'f8e5m2': 1, 'token': 0, 'opaque': 0,
}  # fmt: skip


class Array(NamedTuple):
    """One array of a type such as ``bf16[16,512]{1,0:T(8,128)(2,1)S(1)}``."""

    dtype: str
    dims: tuple[int, ...]
    layout: tuple[int, ...] = ()  # dimensions, the fastest first
    tile: tuple[int, ...] = ()  # the unit of memory, the fastest dimension last
    space: int = 0  # of memory; 0 is the device's main memory (HBM on a TPU)

    @property
    def bytes(self) -> int:
        """What it takes in memory, with its fastest dimensions padded to whole tiles."""
        slow_first = [self.dims[i] for i in reversed(self.layout)] or list(self.dims)
        for i, size in enumerate(reversed(self.tile), start=1):
            if i <= len(slow_first):
                slow_first[-i] = -(-slow_first[-i] // size) * size
        return int(math.prod(slow_first) * ITEM_BYTES.get(self.dtype, 4))

    @property
    def payload(self) -> int:
        """Bytes of its elements alone."""
        return int(math.prod(self.dims) * ITEM_BYTES.get(self.dtype, 4))

    def __str__(self) -> str:
        return f'{self.dtype}[{",".join(map(str, self.dims))}]'


class Instruction(NamedTuple):
    """One line of a computation."""

    name: str
    arrays: tuple[Array, ...]  # of its result; a tuple's are flattened
    opcode: str
    operands: tuple[str, ...]
    rest: str  # its attributes, as text
    argument: str  # the text between its parentheses
    is_root: bool

    @property
    def source(self) -> str:
        """Where in the program it comes from, as JAX named it; its own name where unknown."""
        match = re.search(r'op_name="((?:[^"\\]|\\.)*)"', self.rest)
        return re.sub(r'\\(.)', r'\1', match.group(1)) if match else self.name

    def called(self, *attributes: str) -> list[str]:
        """Names of the computations that it calls by these attributes."""
        names = []
        for attribute in attributes:
            match = re.search(rf'\b{attribute}=(?:%([\w.\-]+)|\{{([^}}]*)\}})', self.rest)
            if match:
                names += re.findall(r'[\w.\-]+', match.group(1) or match.group(2))
        return names


class Computation(NamedTuple):
    """Instructions by name; the root makes its result."""

    name: str
    instructions: dict[str, Instruction]

    @property
    def root(self) -> Instruction:
        return next(one for one in self.instructions.values() if one.is_root)

    def parameter(self, number: int) -> Instruction | None:
        """The instruction that stands for an argument; None where it is not used."""
        parameters = (one for one in self.instructions.values() if one.opcode == 'parameter')
        return next((one for one in parameters if one.argument == str(number)), None)


class Module(NamedTuple):
    """A whole program."""

    computations: dict[str, Computation]
    entry: str


class Executed(NamedTuple):
    """An instruction that is run, and how often."""

    computation: Computation
    instruction: Instruction
    times: int


_HEADER = re.compile(r'^(ENTRY )?%?([\w.\-]+) \(.*\{$')
_LINE = re.compile(r'^\s+(ROOT )?%?([\w.\-]+) = (.*)$')
_ARRAY = re.compile(r'\b([a-z]\w*)\[([\d,]*)\](?:\{([\d,]*)(?::([^}]*))?\})?')


def parse(text: str) -> Module:
    """Reads a whole module.

    >>> module = parse('ENTRY %main (a: f32[2]) -> f32[2] {\\n'
    ...                '  ROOT %n = f32[2]{0} negate(f32[2]{0} %a)\\n}')
    >>> module.computations[module.entry].root.opcode
    'negate'
    """
    computations: dict[str, Computation] = {}
    entry, current = '', None
    for line in text.splitlines():
        header = _HEADER.match(line)
        if header:
            current = Computation(header.group(2), {})
            computations[current.name] = current
            entry = current.name if header.group(1) else entry
        elif current is not None and (match := _LINE.match(line)):
            one = _instruction(*match.groups())
            current.instructions[one.name] = one
    return Module(computations, entry or (current.name if current else ''))


def _instruction(root: str | None, name: str, line: str) -> Instruction:
    kind, rest = _split_type(line)
    opcode, _, rest = rest.partition('(')
    end = _closing(rest)
    argument = rest[:end]
    # Older printers repeat each operand's type before its name.
    operands = tuple(re.findall(r'%([\w.\-]+)', argument))
    return Instruction(
        name, parse_arrays(kind), opcode.strip(), operands, rest[end + 1 :], argument, bool(root)
    )


def _split_type(line: str) -> tuple[str, str]:
    """The result's type, and what follows."""
    if not line.startswith('('):
        kind, _, rest = line.partition(' ')
        return kind, rest
    end = _closing(line[1:]) + 2
    return line[:end], line[end:].lstrip()


def _closing(text: str) -> int:
    """Where the parenthesis that was open before `text` closes."""
    depth = 1
    for i, letter in enumerate(text):
        depth += (letter == '(') - (letter == ')')
        if depth == 0:
            return i
    return len(text)


def parse_arrays(kind: str) -> tuple[Array, ...]:
    """The arrays of a type, tuples flattened.

    >>> [(str(one), one.bytes, one.space) for one in parse_arrays(
    ...     '(f32[3,5]{1,0:T(8,128)}, bf16[16]{0:T(256)S(1)})')]
    [('f32[3,5]', 4096, 0), ('bf16[16]', 512, 1)]
    """
    arrays = []
    for dtype, dims, layout, extras in _ARRAY.findall(kind):
        tile = re.match(r'T\(([\d,]+)\)', extras)
        space = re.search(r'S\((\d+)\)', extras)
        tiles = _numbers(tile.group(1)) if tile else ()
        in_space = int(space.group(1)) if space else 0
        arrays.append(Array(dtype, _numbers(dims), _numbers(layout), tiles, in_space))
    return tuple(arrays)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(',') if number)


def executed(module: Module, name: str = '', times: int = 1) -> Iterator[Executed]:
    """Every instruction that runs as one of the program's own, with how often.

    A loop's instructions count as often as it turns (`trip_count`; once where that is not known).
    Each branch of a conditional counts once, and the inside of a fusion is left out. `times` is how
    often the computation `name` is run (default: the entry, once).
    """
    computation = module.computations[name or module.entry]
    for one in computation.instructions.values():
        yield Executed(computation, one, times)
        if one.opcode == 'while':
            inner = times * (trip_count(module, one) or 1)
            for body in one.called('body'):
                yield from executed(module, body, inner)
        elif one.opcode in ('call', 'conditional', 'async-start'):
            attributes = (
                'to_apply', 'calls', 'branch_computations', 'true_computation', 'false_computation'
            )  # fmt: skip
            for callee in one.called(*attributes):
                yield from executed(module, callee, times)


def trip_count(module: Module, loop: Instruction) -> int | None:
    """How often a loop turns, by XLA's note or the constant it counts up to; None: unknown."""
    noted = re.search(r'known_trip_count":\{"n":"(\d+)"', loop.rest)
    if noted:
        return int(noted.group(1))
    condition = module.computations[loop.called('condition')[0]]
    names = [condition.name]
    for one in condition.instructions.values():
        names += one.called('calls')
    bounds = {
        int(one.argument)
        for name in names
        for one in module.computations[name].instructions.values()
        if one.opcode == 'constant' and re.fullmatch(r'\d+', one.argument)
    }
    return bounds.pop() if len(bounds) == 1 else None
