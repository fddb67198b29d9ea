"""Kernels of a GPU's program, counted by kind in a small text like those that XLA prints."""

import pytest

from electra_jax.aot import hlo, kernels, traffic

# What a compiler for GPUs makes of a layer or two, much shortened; a loop turns three times.
PROGRAM = """
HloModule jit_step, is_scheduled=true

%sum (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  ROOT %s = f32[] add(%x, %y)
}

%inner (p0: bf16[8,16], p1: bf16[16,16]) -> bf16[8,16] {
  %p0 = bf16[8,16]{1,0} parameter(0)
  %p1 = bf16[16,16]{1,0} parameter(1)
  ROOT %d = bf16[8,16]{1,0} dot(%p0, %p1), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

%nested (p0: bf16[8,16], p1: bf16[16,16]) -> bf16[8,16] {
  %p0 = bf16[8,16]{1,0} parameter(0)
  %p1 = bf16[16,16]{1,0} parameter(1)
  ROOT %f = bf16[8,16]{1,0} fusion(%p0, %p1), kind=kCustom, calls=%inner
}

%norm (p0: bf16[8,16]) -> (f32[8], s32[8], bf16[8,16]) {
  %p0 = bf16[8,16]{1,0} parameter(0)
  %n = s32[8,16]{1,0} iota(), iota_dimension=1
  %z = f32[] constant(0)
  %i = s32[] constant(0)
  %f = f32[8,16]{1,0} convert(%p0)
  %r = (f32[8]{0}, s32[8]{0}) reduce(%f, %n, %z, %i), dimensions={1}, to_apply=%sum
  %g = f32[8]{0} get-tuple-element(%r), index=0
  %t = bf16[8,16]{1,0} tanh(%p0)
  ROOT %all = (f32[8]{0}, s32[8]{0}, bf16[8,16]{1,0}) tuple(%r, %t)
}

%put (p0: bf16[3,8,16], p1: bf16[8,16], p2: s32[]) -> bf16[3,8,16] {
  %p0 = bf16[3,8,16]{2,1,0} parameter(0)
  %p1 = bf16[8,16]{1,0} parameter(1)
  %p2 = s32[] parameter(2)
  %z = s32[] constant(0)
  %b = bf16[1,8,16]{2,1,0} bitcast(%p1)
  ROOT %u = bf16[3,8,16]{2,1,0} dynamic-update-slice(%p0, %b, %p2, %z, %z)
}

%double (p0: bf16[8,16]) -> bf16[8,16] {
  %p0 = bf16[8,16]{1,0} parameter(0)
  ROOT %a = bf16[8,16]{1,0} add(%p0, %p0)
}

%body (state: (s32[], bf16[8,16], bf16[3,8,16], bf16[16,16])) -> (s32[], bf16[8,16], \
bf16[3,8,16], bf16[16,16]) {
  %state = (s32[], bf16[8,16]{1,0}, bf16[3,8,16]{2,1,0}, /*index=3*/bf16[16,16]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%state), index=0
  %x = bf16[8,16]{1,0} get-tuple-element(%state), index=1
  %stack = bf16[3,8,16]{2,1,0} get-tuple-element(%state), index=2
  %w = bf16[16,16]{1,0} get-tuple-element(%state), index=3
  %product = bf16[8,16]{1,0} fusion(%x, %w), kind=kCustom, calls=%nested, \
backend_config={"fusion_backend_config":{"kind":"__triton_nested_gemm_fusion"}}
  %kept = bf16[3,8,16]{2,1,0} fusion(%stack, %product, %i), kind=kLoop, calls=%put
  ROOT %out = (s32[], bf16[8,16]{1,0}, bf16[3,8,16]{2,1,0}, bf16[16,16]{1,0}) tuple(%i, \
%product, %kept, %w)
}

%condition (state: (s32[], bf16[8,16], bf16[3,8,16], bf16[16,16])) -> pred[] {
  %state = (s32[], bf16[8,16]{1,0}, bf16[3,8,16]{2,1,0}, bf16[16,16]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%state), index=0
  %n = s32[] constant(3)
  ROOT %lt = pred[] compare(%i, %n), direction=LT
}

ENTRY %main (x: bf16[8,16], w: bf16[16,16]) -> bf16[8,16] {
  %x = bf16[8,16]{1,0} parameter(0)
  %w = bf16[16,16]{1,0} parameter(1)
  %zero = s32[] constant(0)
  %empty = bf16[3,8,16]{2,1,0} broadcast(%zero), dimensions={}
  %in = (s32[], bf16[8,16]{1,0}, bf16[3,8,16]{2,1,0}, bf16[16,16]{1,0}) tuple(%zero, %x, %empty, %w)
  %loop = (s32[], bf16[8,16]{1,0}, bf16[3,8,16]{2,1,0}, bf16[16,16]{1,0}) while(%in), \
condition=%condition, body=%body, backend_config={"known_trip_count":{"n":"3"}}
  %y = bf16[8,16]{1,0} get-tuple-element(%loop), index=1
  %blas = (bf16[8,16]{1,0}, s8[4096]{0}) custom-call(%y, %w), \
custom_call_target="__cublas$lt$matmul"
  %z = bf16[8,16]{1,0} get-tuple-element(%blas), index=0
  %dnn = (bf16[8,16]{1,0}, u8[0]{0}) custom-call(%z, %z, %z), \
custom_call_target="__cudnn$fmhaSoftmax"
  %a = bf16[8,16]{1,0} get-tuple-element(%dnn), index=0
  %norms = (f32[8]{0}, s32[8]{0}, bf16[8,16]{1,0}) fusion(%a), kind=kInput, calls=%norm
  %b = bf16[8,16]{1,0} get-tuple-element(%norms), index=2
  %c = bf16[8,16]{1,0} fusion(%b), kind=kLoop, calls=%double
  %d = bf16[8,16]{1,0} copy(%c)
  %start = bf16[8,16]{1,0} all-reduce-start(%d), replica_groups={{0,1}}, to_apply=%sum
  ROOT %done = bf16[8,16]{1,0} all-reduce-done(%start)
}
"""
ROWS = 8 * 16 * 2  # bytes of bf16[8,16]


@pytest.fixture
def program() -> hlo.Module:
    return hlo.parse(PROGRAM)


def test_kernels_count_by_kind_as_often_as_their_loop_turns(program):
    launched = kernels.launches(program)
    assert kernels.Launches('matrix product', 'product', 3) in launched
    assert kernels.by_kind(launched) == {
        'matrix product': 3 + 1,
        'copy': 3 + 1,
        'loop': 2,  # zeros for the stack, and the sum
        'reduction': 1,
        'custom call': 1,
        'collective': 1,
    }


def test_bytes_of_a_fusion_that_makes_several_arrays_are_those_of_each(program):
    moved = {move.source: move.bytes for move in traffic.movements(program)}
    assert moved['norms'] == ROWS + 8 * 4 + 8 * 4 + ROWS


def test_what_a_library_works_in_is_no_traffic(program):
    moved = {move.source: move.bytes for move in traffic.movements(program)}
    assert moved['blas'] == ROWS + 16 * 16 * 2 + ROWS  # and none of the 4,096 bytes
