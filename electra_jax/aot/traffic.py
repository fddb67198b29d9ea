"""What a compiled program moves: bytes through main memory, and collectives between devices.

Read from the optimized program (`hlo.parse`) as it runs on one device. Bytes are those of arrays
in main memory (HBM) that an instruction reads or writes; what lies in on-chip memory costs none.
A fusion that reads or writes a slice of an array counts the slice. XLA's own `cost_analysis`
counts the body of a loop once, however often it turns; here it counts every time.
"""

import collections
import dataclasses
import math
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from electra_jax.aot import hlo
from electra_jax.aot.hlo import Array, Computation, Instruction, Module

# Names for, or parts of, what other instructions make: nothing moves.
_ALIASES = {
    'parameter', 'constant', 'get-tuple-element', 'tuple', 'bitcast', 'while', 'call',
    'conditional', 'after-all', 'partition-id', 'replica-id', 'opt-barrier', 'add-dependency',
    'async-start', 'async-update', 'async-done', 'domain',
}  # fmt: skip
_SAME = ('bitcast', 'reshape', 'convert', 'copy')  # of the array that they are made from
_UPDATES = {'dynamic-update-slice': 1, 'scatter': -1}  # written in place: the operand with what
_ALIAS_CALLS = ('AllocateBuffer', 'ConcatBitcast', 'AssumeGatherIndicesInBound')
# How often a ring carries what one device puts in (all-gather: gets out) past each device.
RING_TRIPS = {
    'all-reduce': 2.0, 'all-gather': 1.0, 'reduce-scatter': 1.0, 'all-to-all': 1.0,
    'ragged-all-to-all': 1.0, 'collective-permute': 2.0, 'collective-broadcast': 1.0,
}  # fmt: skip


class Movement(NamedTuple):
    """What one instruction moves through main memory in a step; source: where JAX made it."""

    source: str
    opcode: str
    bytes: int


@dataclasses.dataclass(frozen=True)
class Collective:
    """All collectives of one kind in a step, over groups of one size."""

    kind: str  # name of its instruction
    devices: int  # of a group
    crosses_slices: bool  # whether a group spans slices, over the data-centre network
    count: int  # in a step
    bytes: int  # what one device puts in; for an all-gather, what it gets


@dataclasses.dataclass(frozen=True)
class Buffer:
    """An array in main memory."""

    shape: str
    bytes: int
    source: str
    count: int  # different instructions that make one like it


def movements(module: Module) -> list[Movement]:
    """Everything that moves through main memory, the most first."""
    totals: collections.Counter[tuple[str, str]] = collections.Counter()
    for computation, one, times in hlo.executed(module):
        totals[one.source, one.opcode] += int(_moved(module, computation, one)) * times
    moves = [Movement(*key, moved) for key, moved in totals.items() if moved]
    return sorted(moves, key=lambda move: -move.bytes)


def computes(one: Instruction) -> bool:
    """Whether an instruction makes something, and does not only name or join what others make."""
    if one.opcode in _ALIASES or one.opcode.endswith('-done'):
        return False
    return one.opcode != 'custom-call' or not any(name in one.rest for name in _ALIAS_CALLS)


def _moved(module: Module, computation: Computation, one: Instruction) -> float:
    if not computes(one):
        return 0
    if one.opcode in ('copy-start', 'slice-start'):
        # A tuple of the new array, the old one and a flag, or of the old one first.
        new = one.arrays[0 if one.opcode == 'copy-start' else 1]
        old_space = _result(computation, one.operands[0])[0].space
        return new.bytes * [new.space, old_space].count(0)
    read = (_read(module, computation, one, number) for number in range(len(one.operands)))
    written = (_written(module, computation, one, number) for number in range(len(one.arrays)))
    return sum(read) + sum(written)


def _main(array: Array) -> int:
    """Its bytes if it lies in main memory."""
    return array.bytes if array.space == 0 else 0


def _result(computation: Computation, name: str) -> tuple[Array, ...]:
    return computation.instructions[name].arrays if name in computation.instructions else ()


def _read(module: Module, computation: Computation, one: Instruction, number: int) -> float:
    """What `one` reads of its operand `number`."""
    arrays = _result(computation, one.operands[number])
    whole = sum(_main(array) for array in arrays)
    return min(whole, _touched(module, one, number)) if whole else 0


def _touched(module: Module, one: Instruction, number: int) -> float:
    """How much of an operand an instruction looks at; without a bound where it is all of it."""
    if one.opcode == 'fusion':
        inner = module.computations[one.called('calls')[0]]
        parameter = inner.parameter(number)
        return _used(module, inner, parameter.name) if parameter else 0
    if number == 0 and one.opcode in ('dynamic-slice', 'slice', 'gather'):
        return sum(array.bytes for array in one.arrays)
    if number == 0 and one.opcode in _UPDATES:
        return 0  # the part that changes is counted as written
    return math.inf


def _used(module: Module, computation: Computation, name: str) -> float:
    """How many bytes of one array a fused computation looks at."""
    total = 0.0
    for user in computation.instructions.values():
        for number, operand in enumerate(user.operands):
            if operand != name:
                continue
            if user.opcode in ('bitcast', 'reshape', 'get-tuple-element') or (
                user.opcode == 'custom-call' and any(call in user.rest for call in _ALIAS_CALLS)
            ):
                total += _used(module, computation, user.name)
            else:
                total += _touched(module, user, number)
    return total


def _written(module: Module, computation: Computation, one: Instruction, number: int) -> int:
    """What `one` writes of its result's array `number`."""
    whole = _main(one.arrays[number])
    if not whole or (number and _is_scratch(one, one.arrays[number])):
        return 0
    maker = one
    while maker.opcode in ('fusion', 'tuple', *_SAME):
        if maker.opcode == 'fusion':
            computation = module.computations[maker.called('calls')[0]]
            maker = computation.root
        elif maker.opcode == 'tuple':
            maker, number = _part(computation, maker, number)
        else:
            maker = computation.instructions[maker.operands[0]]
    if maker.opcode not in _UPDATES:
        return whole
    update = _result(computation, maker.operands[_UPDATES[maker.opcode]])
    return min(whole, sum(array.bytes for array in update))


def _is_scratch(one: Instruction, array: Array) -> bool:
    """Whether it is a space, in bytes, that NVIDIA's libraries are lent next to their results."""
    return one.opcode == 'custom-call' and '__cu' in one.rest and array.dtype in ('s8', 'u8')


def _part(computation: Computation, joined: Instruction, number: int) -> tuple[Instruction, int]:
    """What makes array `number` of a tuple, and which of its own arrays that is."""
    for name in joined.operands:
        part = computation.instructions[name]
        if number < len(part.arrays):
            return part, number
        number -= len(part.arrays)
    raise ValueError(f'{joined.name} has no array {number}')


def collectives(module: Module, slice_of: list[int]) -> list[Collective]:
    """What travels between devices in a step; `slice_of` has the slice of each, by its number."""
    totals_of: dict[tuple[str, int, bool], list[int]] = {}
    for computation, one, times in _with_fused(module):
        kind = one.opcode.removesuffix('-start')
        if between := _between_slices(one):
            kind, crosses, groups = between, True, [list(set(slice_of))]
        elif kind in RING_TRIPS:
            groups = replica_groups(one.rest, len(slice_of))
            crosses = any(len({slice_of[device] for device in group}) > 1 for group in groups)
        else:
            continue
        operands = (array for name in one.operands for array in _result(computation, name))
        # A TPU's all-reduce may narrow its operand first: what travels is what comes out.
        travelling = one.arrays if kind == 'all-reduce' and not between else operands
        sent = sum(array.payload for array in travelling)
        if kind == 'all-gather':
            sent *= len(groups[0])
        totals = totals_of.setdefault((kind, len(groups[0]), crosses), [0, 0])
        totals[0] += times
        totals[1] += sent * times
    return [Collective(*key, *totals) for key, totals in sorted(totals_of.items())]


def _between_slices(one: Instruction) -> str | None:
    """The kind of a collective of which a TPU program sends its part to the other slices.

    Inside a slice it is reduced or gathered by instructions of its own.
    """
    kind = re.search(r'_xla_megascale_transfer_type="(\w+)"', one.rest)
    if one.opcode != 'send' or kind is None:
        return None
    named = kind.group(1).lower().replace('_', '-')
    return named if named in RING_TRIPS else 'collective-permute'


def _with_fused(module: Module) -> Iterator[hlo.Executed]:
    for executed in hlo.executed(module):
        yield executed
        if executed.instruction.opcode == 'fusion':
            for name in executed.instruction.called('calls'):
                inner = module.computations[name]
                for one in inner.instructions.values():
                    yield hlo.Executed(inner, one, executed.times)


def replica_groups(text: str, num_devices: int) -> list[list[int]]:
    """Which devices talk to each other, from a collective's attributes.

    >>> replica_groups('replica_groups={{0,2},{1,3}}, x', 4)
    [[0, 2], [1, 3]]
    >>> replica_groups('replica_groups=[2,2]<=[2,2]T(1,0), x', 4)
    [[0, 2], [1, 3]]
    >>> replica_groups("replica_groups=mesh['a'=2,'b'=2] {'a'}, x", 4)
    [[0, 2], [1, 3]]
    """
    if match := re.search(r'replica_groups=@?mesh\w*\[([^\]]*)\][^{]*\{([^}]*)\}', text):
        sizes = {name: int(size) for name, size in re.findall(r"'(\w+)'=(\d+)", match.group(1))}
        names, along = list(sizes), re.findall(r"'(\w+)'", match.group(2))
        ids = np.arange(num_devices).reshape(*sizes.values())
        order = [names.index(n) for n in names if n not in along] + [names.index(n) for n in along]
        width = math.prod(sizes[name] for name in along)
        return [list(map(int, group)) for group in ids.transpose(order).reshape(-1, width)]
    if match := re.search(r'replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?', text):
        shape, dims, axes = (
            tuple(int(n) for n in part.split(',')) if part else None for part in match.groups()
        )
        ids = np.arange(num_devices).reshape(dims or -1).transpose(axes).reshape(shape or -1)
        return [list(map(int, group)) for group in ids]
    if match := re.search(r'(?:replica_groups|source_target_pairs)=\{(\{[\d,{} ]+\})\}', text):
        return [
            [int(n) for n in group.split(',')] for group in re.findall(r'\{([\d, ]+)\}', match[1])
        ]
    return [list(range(num_devices))]


def buffers(module: Module) -> list[Buffer]:
    """The different arrays that the program makes or is given in main memory, largest first."""
    seen: dict[str, Buffer] = {}
    for computation, one, _ in hlo.executed(module):
        is_argument = one.opcode == 'parameter' and computation.name == module.entry
        if (one.opcode in _ALIASES and not is_argument) or one.opcode.endswith('-done'):
            continue
        for array in one.arrays:
            if array.space == 0:
                before = seen.get(str(array), Buffer(str(array), 0, one.source, 0))
                seen[str(array)] = dataclasses.replace(
                    before, bytes=array.bytes, count=before.count + 1
                )
    return sorted(seen.values(), key=lambda buffer: -buffer.bytes)
