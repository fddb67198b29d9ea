"""Compiled programs read as text: arrays, loops, bytes and collectives of small ones, by hand."""

import jax
import jax.numpy as jnp
import pytest

from electra_jax.aot import hlo, traffic

# A loop of five turns; each reads a slice of `stack`, doubles it and writes it back.
LOOP = """
HloModule loop, is_scheduled=true

%double (p0: f32[5,4,128], p1: s32[]) -> f32[5,4,128] {
  %p0 = f32[5,4,128]{2,1,0:T(4,128)} parameter(0)
  %p1 = s32[]{:T(128)} parameter(1)
  %z = s32[]{:T(128)} constant(0)
  %one = f32[1,4,128]{2,1,0:T(4,128)} dynamic-slice(%p0, %p1, %z, %z), dynamic_slice_sizes={1,4,128}
  %two = f32[1,4,128]{2,1,0:T(4,128)} add(%one, %one)
  ROOT %put = f32[5,4,128]{2,1,0:T(4,128)} dynamic-update-slice(%p0, %two, %p1, %z, %z)
}

%condition (state: (s32[], f32[5,4,128])) -> pred[] {
  %state = (s32[]{:T(128)}, f32[5,4,128]{2,1,0:T(4,128)}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%state), index=0
  %n = s32[]{:T(128)} constant(5)
  ROOT %lt = pred[]{:T(512)} compare(%i, %n), direction=LT
}

%body (state: (s32[], f32[5,4,128])) -> (s32[], f32[5,4,128]) {
  %state = (s32[]{:T(128)}, f32[5,4,128]{2,1,0:T(4,128)}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%state), index=0
  %x = f32[5,4,128]{2,1,0:T(4,128)} get-tuple-element(%state), index=1
  %y = f32[5,4,128]{2,1,0:T(4,128)} fusion(%x, %i), kind=kLoop, calls=%double, metadata={op_name="jit(f)/mul"}
  %g = f32[4,128]{1,0:T(4,128)S(1)} broadcast(%i), dimensions={}
  %r = f32[4,128]{1,0:T(4,128)S(1)} all-reduce(%g), replica_groups={{0,1},{2,3}}, to_apply=%sum
  ROOT %out = (s32[]{:T(128)}, f32[5,4,128]{2,1,0:T(4,128)}) tuple(%i, %y)
}

ENTRY %main (stack: f32[5,4,128]) -> f32[5,4,128] {
  %stack = f32[5,4,128]{2,1,0:T(4,128)} parameter(0), metadata={op_name="stack"}
  %zero = s32[]{:T(128)} constant(0)
  %in = (s32[]{:T(128)}, f32[5,4,128]{2,1,0:T(4,128)}) tuple(%zero, %stack)
  %loop = (s32[]{:T(128)}, f32[5,4,128]{2,1,0:T(4,128)}) while(%in), condition=%condition, body=%body
  %done = f32[5,4,128]{2,1,0:T(4,128)} get-tuple-element(%loop), index=1
  %copy-start.1 = (f32[5,4,128]{2,1,0:T(4,128)S(1)}, f32[5,4,128]{2,1,0:T(4,128)}, u32[]{:S(2)}) copy-start(%done)
  %copy-done.1 = f32[5,4,128]{2,1,0:T(4,128)S(1)} copy-done(%copy-start.1)
  ROOT %neg = f32[5,4,128]{2,1,0:T(4,128)} negate(%copy-done.1)
}
"""  # noqa: E501
SLICE, STACK = 4 * 128 * 4, 5 * 4 * 128 * 4  # bytes


@pytest.fixture
def loop() -> hlo.Module:
    return hlo.parse(LOOP)


def test_a_loop_turns_as_often_as_its_condition_says(loop):
    found = loop.computations['main'].instructions['loop']
    assert hlo.trip_count(loop, found) == 5


def test_bytes_are_counted_each_turn_in_main_memory_and_of_slices_only(loop):
    moved = {move.source: move.bytes for move in traffic.movements(loop)}
    assert moved == {
        'jit(f)/mul': 5 * (2 * SLICE + 4),  # one slice in, one out and their place, five times
        'g': 5 * 4,
        'copy-start.1': STACK,  # to on-chip memory: read only
        'neg': STACK,  # from there: written only
    }


def test_names_are_read_as_they_were_before_they_were_escaped(loop):
    found = loop.computations['body'].instructions['y']
    escaped = found._replace(rest=r'metadata={op_name="params[\'a\'] \"b\"" stack_frame_id=1}')
    assert escaped.source == 'params[\'a\'] "b"'


SENT = """HloModule sent
ENTRY %main (a: f32[2,4]) -> f32[2,4] {
  %a = f32[2,4]{1,0} parameter(0)
  %token = token[] after-all()
  %sent = (f32[2,4]{1,0}, u32[], token[]) send(%a, %token), channel_id=2, is_host_transfer=true, \
frontend_attributes={_xla_megascale_target="{1,2}x{0:3}",_xla_megascale_transfer_type="ALL_REDUCE"}
  ROOT %b = f32[2,4]{1,0} copy(%a)
}
"""


def test_what_a_tpu_program_sends_to_other_slices_is_a_collective_between_them():
    found = traffic.collectives(hlo.parse(SENT), slice_of=[0, 0, 1, 1])
    assert found == [traffic.Collective('all-reduce', 2, True, 1, 32)]


def test_collectives_count_turns_groups_and_whether_they_span_slices(loop):
    (one,) = traffic.collectives(loop, slice_of=[0, 0, 1, 1])
    assert one == traffic.Collective('all-reduce', 2, False, 5, 5 * SLICE)
    (one,) = traffic.collectives(loop, slice_of=[0, 1, 0, 1])
    assert one.crosses_slices


def test_buffers_are_arrays_in_main_memory_by_shape(loop):
    (one,) = traffic.buffers(loop)
    assert one.shape == 'f32[5,4,128]' and one.bytes == STACK and one.source == 'stack'


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('bf16[16,512,12,64]{1,3,2,0:T(8,128)(2,1)}', 16 * 512 * 12 * 64 * 2),
        ('f32[16,512,1]{2,1,0:T(8,128)}', 16 * 512 * 128 * 4),  # one lane of 128 in use
        ('f32[7,3]{0,1:T(8,128)}', 8 * 128 * 4),
        ('pred[]', 1),
    ],
)
def test_arrays_take_whole_tiles(text, expected):
    (array,) = hlo.parse_arrays(text)
    assert array.bytes == expected


def test_a_program_of_this_machine_is_read_too():
    """The same text from XLA itself: a scan of four matrix products."""

    def f(w_NDD, x_BD):
        return jax.lax.scan(lambda x_BD, w_DD: (jnp.tanh(x_BD @ w_DD), None), x_BD, w_NDD)[0]

    shapes = jnp.zeros((4, 64, 64)), jnp.zeros((8, 64))
    module = hlo.parse(jax.jit(f).lower(*shapes).compile().as_text())
    loops = [p.instruction for p in hlo.executed(module) if p.instruction.opcode == 'while']
    assert [hlo.trip_count(module, one) for one in loops] == [4]
    total = sum(move.bytes for move in traffic.movements(module))
    # Every weight is read at least once, and nothing is read by the whole stack each turn.
    assert 4 * 64 * 64 * 4 <= total < 4 * 4 * 64 * 64 * 4
