"""The count of what a compiled program moves is right: against programs whose traffic is known, and XLA's own count."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.compiled.traffic import size_of, traffic_of

LOOP = """HloModule m

%body (p: (s32[], f32[1000])) -> (s32[], f32[1000]) {
  %p = (s32[], f32[1000]{0}) parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %x = f32[1000]{0} get-tuple-element(%p), index=1
  %y = f32[1000]{0} fusion(%x), kind=kLoop, calls=%doubled
  ROOT %t = (s32[], f32[1000]{0}) tuple(%i, %y)
}

%doubled (a: f32[1000]) -> f32[1000] {
  %a = f32[1000]{0} parameter(0)
  ROOT %b = f32[1000]{0} add(%a, %a)
}

%condition (q: (s32[], f32[1000])) -> pred[] {
  %q = (s32[], f32[1000]{0}) parameter(0)
  %j = s32[] get-tuple-element(%q), index=0
  %n = s32[] constant(7)
  ROOT %less = pred[] compare(%j, %n), direction=LT
}

ENTRY %main (z: f32[1000]) -> f32[1000] {
  %z = f32[1000]{0} parameter(0)
  %zero = s32[] constant(0)
  %start = (s32[], f32[1000]{0}) tuple(%zero, %z)
  %loop = (s32[], f32[1000]{0}) while(%start), condition=%condition, body=%body%KNOWN
  ROOT %out = f32[1000]{0} get-tuple-element(%loop), index=1
}
"""


def test_a_loop_counts_as_often_as_it_turns() -> None:
    by_condition = traffic_of(LOOP.replace("%KNOWN", ""))
    assert (by_condition.kernels, by_condition.moved) == (7, 7 * 8000)
    known = ', backend_config={"known_trip_count":{"n":"3"}}'
    assert traffic_of(LOOP.replace("%KNOWN", known)).moved == 3 * 8000


def test_a_copy_to_the_chip_is_read_once() -> None:
    text = """HloModule m

ENTRY %main (z: f32[1000]) -> f32[1000] {
  %z = f32[1000]{0:T(1024)} parameter(0)
  %s = (f32[1000]{0:T(1024)S(1)}, f32[1000]{0:T(1024)}, u32[]{:S(2)}) copy-start(%z)
  ROOT %d = f32[1000]{0:T(1024)S(1)} copy-done(%s)
}
"""
    assert traffic_of(text).moved == 4000


def test_of_branches_the_dearest_counts() -> None:
    branches = LOOP.replace(
        "while(%start), condition=%condition, body=%body%KNOWN",
        "conditional(%zero, %start, %start), branch_computations={%body, %condition}",
    )
    # The other branch is a comparison of 4 bytes with 4 bytes.
    assert traffic_of(branches).moved == 8000


def test_a_part_that_is_taken_or_written_in_place_counts_alone() -> None:
    text = """HloModule m

ENTRY %main (x: f32[1000,10], i: s32[]) -> f32[1000,10] {
  %x = f32[1000,10]{1,0} parameter(0)
  %i = s32[] parameter(1)
  %part = f32[1,10]{1,0} dynamic-slice(%x, %i, %i), dynamic_slice_sizes={1,10}
  ROOT %y = f32[1000,10]{1,0} dynamic-update-slice(%x, %part, %i, %i)
}
"""
    # Read and written, 40 bytes each, and the two numbers of where.
    assert traffic_of(text).moved == 2 * (40 + 40 + 8)


def test_sizes() -> None:
    assert size_of("bf16[3,5]{1,0}") == 30
    assert size_of("(f32[2]{0}, pred[7]{0}, s32[])") == 8 + 7 + 4
    assert size_of("f32[8,128]{1,0:T(8,128)S(1)}") == 0  # what stays on a TPU


def test_products_are_counted_with_their_dtypes() -> None:
    text = """HloModule m

ENTRY %main (x: bf16[2,64,32], y: bf16[2,32,16]) -> f32[2,64,16] {
  %x = bf16[2,64,32]{2,1,0} parameter(0)
  %y = bf16[2,32,16]{2,1,0} parameter(1)
  ROOT %z = f32[2,64,16]{2,1,0} dot(%x, %y), lhs_batch_dims={0}, lhs_contracting_dims={2}, rhs_batch_dims={0}
}
"""
    found = traffic_of(text)
    assert found.flops == 2 * 2 * 64 * 16 * 32
    assert dict(found.products) == {"bf16 x bf16 -> f32": 1}


def test_without_loops_it_is_what_xla_counts() -> None:
    def program(x: Any, y: Any) -> Any:
        return jnp.sum(jnp.exp(x) * y, axis=-1)

    x = np.ones((64, 128), np.float32)
    compiled: Any = jax.jit(program).lower(x, x).compile()
    expected = compiled.cost_analysis()["bytes accessed"]
    assert abs(traffic_of(compiled.as_text()).moved - expected) <= 0.01 * expected
