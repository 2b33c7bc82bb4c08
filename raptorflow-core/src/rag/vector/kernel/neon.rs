//! The kernels for 64-bit ARM: NEON, which every such processor has.
#![expect(
    unsafe_code,
    reason = "loads through pointers, and calls of functions that need an instruction set"
)]

use std::arch::aarch64::{
    float32x4_t, int8x16_t, vaddlvq_s8, vaddq_f32, vaddq_s32, vaddvq_f32, vaddvq_s32, vandq_s8, vcombine_u8,
    vdup_n_u8, vdupq_n_f32, vdupq_n_s32, vfmaq_f32, vget_high_s8, vget_low_s8, vld1q_f32, vld1q_s8, vld1q_u8,
    vmlal_s8, vmull_s8, vpadalq_s16, vreinterpretq_s8_u8, vsubq_f32, vtstq_u8,
};

use crate::rag::vector::kernel::{Kernels, Line};

const NEON: Kernels = Kernels {
    name: "neon",
    // SAFETY: the table is given out only by `available`, which asked for the instruction set.
    dot: |a, b| unsafe { dot(a, b) },
    // SAFETY: as above.
    squared_distance: |a, b| unsafe { squared_distance(a, b) },
    // SAFETY: as above.
    dot_codes: |a, b| unsafe { dot_codes(a, b) },
    // SAFETY: as above.
    sum_where: |bits, codes| unsafe { sum_where(bits, codes) },
};

/// What this processor has.
pub(super) fn available() -> Vec<Kernels> {
    if std::arch::is_aarch64_feature_detected!("neon") { vec![NEON] } else { Vec::new() }
}

#[target_feature(enable = "neon")]
fn quarters(line: &Line) -> [int8x16_t; 4] {
    let start = line.0.as_ptr().cast::<i8>();
    // SAFETY: a line is 64 bytes: four times 16.
    [0, 16, 32, 48].map(|at| unsafe { vld1q_s8(start.add(at)) })
}

#[target_feature(enable = "neon")]
fn dot_codes(a: &[Line], b: &[Line]) -> i32 {
    let mut sums = [vdupq_n_s32(0); 4];
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(quarters(a)).zip(quarters(b)) {
            // Without −128 two products fit into 16 bits.
            let low = vmull_s8(vget_low_s8(a), vget_low_s8(b));
            *sum = vpadalq_s16(*sum, vmlal_s8(low, vget_high_s8(a), vget_high_s8(b)));
        }
    }
    let [first, second, third, fourth] = sums;
    vaddvq_s32(vaddq_s32(vaddq_s32(first, second), vaddq_s32(third, fourth)))
}

#[target_feature(enable = "neon")]
fn sum_where(bits: &[[u8; 8]], codes: &[Line]) -> i32 {
    const BIT: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];
    // SAFETY: the array has the 16 bytes that are read.
    let bit = unsafe { vld1q_u8(BIT.as_ptr()) };
    let mut sum = 0;
    for (bits, line) in bits.iter().zip(codes) {
        let (pairs, _) = bits.as_chunks::<2>();
        for ([low, high], codes) in pairs.iter().zip(quarters(line)) {
            let mask = vtstq_u8(vcombine_u8(vdup_n_u8(*low), vdup_n_u8(*high)), bit);
            sum += i32::from(vaddlvq_s8(vandq_s8(vreinterpretq_s8_u8(mask), codes)));
        }
    }
    sum
}

#[target_feature(enable = "neon")]
fn floats(
    a: &[f32],
    b: &[f32],
    term: impl Fn(float32x4_t, float32x4_t, float32x4_t) -> float32x4_t,
    rest: impl Fn(f32, f32) -> f32,
) -> f32 {
    let length = a.len().min(b.len());
    let mut sums = [vdupq_n_f32(0.0); 4];
    let (x, y) = (a.as_ptr(), b.as_ptr());
    let mut at = 0;
    while at + 16 <= length {
        for (sum, part) in sums.iter_mut().zip([0, 4, 8, 12]) {
            // SAFETY: 16 floats from `at` on are within both slices.
            let (x, y) = unsafe { (vld1q_f32(x.add(at + part)), vld1q_f32(y.add(at + part))) };
            *sum = term(x, y, *sum);
        }
        at += 16;
    }
    let [first, second, third, fourth] = sums;
    let rest: f32 = a.iter().zip(b).skip(at).map(|(x, y)| rest(*x, *y)).sum();
    vaddvq_f32(vaddq_f32(vaddq_f32(first, second), vaddq_f32(third, fourth))) + rest
}

#[target_feature(enable = "neon")]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    floats(a, b, |x, y, sum| vfmaq_f32(sum, x, y), |x, y| x * y)
}

#[target_feature(enable = "neon")]
fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    let term = |x, y, sum| {
        let apart = vsubq_f32(x, y);
        vfmaq_f32(sum, apart, apart)
    };
    floats(a, b, term, |x, y| (x - y) * (x - y))
}
