"""How many kernels a GPU starts in a step, by kind, from the optimized program (`hlo.parse`).

A loop's kernels count as often as it turns. Each instruction of the program that computes is one
kernel, whatever was fused into it; what some need next to it (such as zeros) is not counted.
"""

import collections
import dataclasses
import re
from collections.abc import Iterable, Iterator

from electra_jax.aot import hlo, traffic
from electra_jax.aot.hlo import Instruction, Module

PRODUCT, REDUCTION, LOOP, COPY = 'matrix product', 'reduction', 'loop', 'copy'
CUSTOM_CALL, COLLECTIVE = 'custom call', 'collective'

_PRODUCTS = ('dot', 'convolution')
_REDUCTIONS = ('reduce', 'reduce-window')
_MOVES = ('copy', 'slice', 'dynamic-slice', 'dynamic-update-slice')
# What a fusion that only copies may have besides.
_AROUND_MOVES = {*_MOVES, 'parameter', 'constant', 'bitcast', 'tuple', 'get-tuple-element'}


@dataclasses.dataclass(frozen=True)
class Launches:
    """The kernels of one kind that JAX made in one place of the program; count: in a step."""

    kind: str
    source: str
    count: int


def launches(module: Module) -> list[Launches]:
    """The kernels of a step by kind and source, the most frequent first.

    >>> launches(hlo.parse('ENTRY %main (a: f32[2]) -> f32[2] {\\n'
    ...                    '  %a = f32[2]{0} parameter(0)\\n'
    ...                    '  ROOT %n = f32[2]{0} copy(f32[2]{0} %a)\\n}'))
    [Launches(kind='copy', source='n', count=1)]
    """
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    for _, one, times in hlo.executed(module):
        if traffic.computes(one):
            counts[kind(module, one), one.source] += times
    return [Launches(*key, count) for key, count in counts.most_common()]


def by_kind(launched: Iterable[Launches]) -> dict[str, int]:
    """The kernels of a step by kind alone, the most frequent first."""
    counts: collections.Counter[str] = collections.Counter()
    for one in launched:
        counts[one.kind] += one.count
    return dict(counts.most_common())


def kind(module: Module, one: Instruction) -> str:
    """What a kernel mostly does."""
    if one.opcode.removesuffix('-start') in traffic.RING_TRIPS:
        return COLLECTIVE
    opcodes = {inner.opcode for inner in _inside(module, one)}
    if opcodes.intersection(_PRODUCTS) or any(map(_is_product, _inside(module, one))):
        return PRODUCT
    if 'custom-call' in opcodes:
        return CUSTOM_CALL
    if opcodes.intersection(_REDUCTIONS):
        return REDUCTION
    if opcodes.intersection((*_MOVES, 'copy-start')) and opcodes <= {*_AROUND_MOVES, 'copy-start'}:
        return COPY
    return LOOP


def _is_product(one: Instruction) -> bool:
    """Whether it calls a library's matrix product."""
    target = re.search(r'custom_call_target="([^"]*)"', one.rest)
    return bool(target and re.search('cublas|gemm|matmul', target.group(1)))


def _inside(module: Module, one: Instruction) -> Iterator[Instruction]:
    """The instructions of a fusion, and of those in it; another instruction alone."""
    if one.opcode != 'fusion':
        yield one
        return
    for name in one.called('calls'):
        for inner in module.computations[name].instructions.values():
            yield from _inside(module, inner)
