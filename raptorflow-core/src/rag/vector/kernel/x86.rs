//! The kernels for x86-64: AVX-512 with VNNI, and AVX2 with FMA.
#![expect(
    unsafe_code,
    reason = "loads through pointers, and calls of functions that need an instruction set"
)]

use std::arch::x86_64::{
    __m256, __m256i, __m512, __m512i, _mm_add_epi32, _mm_add_ps, _mm_cvtsi128_si32, _mm_cvtss_f32,
    _mm_hadd_ps, _mm_shuffle_epi32, _mm256_abs_epi8, _mm256_add_epi32, _mm256_add_ps, _mm256_and_si256,
    _mm256_castps256_ps128, _mm256_castsi256_si128, _mm256_cmpeq_epi8, _mm256_extractf128_ps,
    _mm256_extracti128_si256, _mm256_fmadd_ps, _mm256_load_si256, _mm256_loadu_ps, _mm256_madd_epi16,
    _mm256_maddubs_epi16, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_epi64x,
    _mm256_setr_epi64x, _mm256_setzero_ps, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_sign_epi8,
    _mm256_sub_ps, _mm512_add_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_load_si512, _mm512_loadu_ps,
    _mm512_maskz_loadu_ps, _mm512_maskz_mov_epi8, _mm512_reduce_add_epi32, _mm512_reduce_add_ps,
    _mm512_set1_epi8, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_sub_epi32, _mm512_sub_ps,
    _mm512_xor_si512,
};

use crate::rag::vector::kernel::{Kernels, Line};

const AVX512: Kernels = Kernels {
    name: "avx512-vnni",
    // SAFETY: the table is given out only by `available`, which asked the processor for the instruction set.
    dot: |a, b| unsafe { dot_512(a, b) },
    // SAFETY: as above.
    squared_distance: |a, b| unsafe { squared_distance_512(a, b) },
    // SAFETY: as above.
    dot_codes: |a, b| unsafe { dot_codes_512(a, b) },
    // SAFETY: as above.
    sum_where: |bits, codes| unsafe { sum_where_512(bits, codes) },
};

const AVX2: Kernels = Kernels {
    name: "avx2",
    // SAFETY: the table is given out only by `available`, which asked the processor for the instruction set.
    dot: |a, b| unsafe { dot_256(a, b) },
    // SAFETY: as above.
    squared_distance: |a, b| unsafe { squared_distance_256(a, b) },
    // SAFETY: as above.
    dot_codes: |a, b| unsafe { dot_codes_256(a, b) },
    // SAFETY: as above.
    sum_where: |bits, codes| unsafe { sum_where_256(bits, codes) },
};

/// What this processor has, the fastest first.
pub(super) fn available() -> Vec<Kernels> {
    let mut all = Vec::new();
    if is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vnni")
    {
        all.push(AVX512);
    }
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        all.push(AVX2);
    }
    all
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn line_512(line: &Line) -> __m512i {
    // SAFETY: a line is 64 bytes at a multiple of 64.
    unsafe { _mm512_load_si512(line.0.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn dot_codes_512(a: &[Line], b: &[Line]) -> i32 {
    // The instruction wants one side unsigned: `a` is moved up by 128, and 128 times the sum of `b` taken off again.
    let up = _mm512_set1_epi8(-128);
    let (mut sum, mut excess) = (_mm512_setzero_si512(), _mm512_setzero_si512());
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (line_512(a), line_512(b));
        sum = _mm512_dpbusd_epi32(sum, _mm512_xor_si512(a, up), b);
        excess = _mm512_dpbusd_epi32(excess, up, b);
    }
    _mm512_reduce_add_epi32(_mm512_sub_epi32(sum, excess))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn sum_where_512(bits: &[[u8; 8]], codes: &[Line]) -> i32 {
    let ones = _mm512_set1_epi8(1);
    let mut sum = _mm512_setzero_si512();
    for (bits, line) in bits.iter().zip(codes) {
        sum =
            _mm512_dpbusd_epi32(sum, ones, _mm512_maskz_mov_epi8(u64::from_le_bytes(*bits), line_512(line)));
    }
    _mm512_reduce_add_epi32(sum)
}

#[target_feature(enable = "avx512f")]
fn floats_512(a: &[f32], b: &[f32], term: impl Fn(__m512, __m512, __m512) -> __m512) -> f32 {
    let length = a.len().min(b.len());
    let mut sums = [_mm512_setzero_ps(); 4];
    let (a, b) = (a.as_ptr(), b.as_ptr());
    let mut at = 0;
    while at + 64 <= length {
        for (sum, part) in sums.iter_mut().zip([0, 16, 32, 48]) {
            // SAFETY: 64 floats from `at` on are within both slices.
            let (x, y) = unsafe { (_mm512_loadu_ps(a.add(at + part)), _mm512_loadu_ps(b.add(at + part))) };
            *sum = term(x, y, *sum);
        }
        at += 64;
    }
    let [mut first, second, third, fourth] = sums;
    while at < length {
        let left = (length - at).min(16);
        let mask = ((1_u32 << left) - 1) as u16;
        // SAFETY: `at` is within both slices, and the mask keeps the load within them.
        let (x, y) =
            unsafe { (_mm512_maskz_loadu_ps(mask, a.add(at)), _mm512_maskz_loadu_ps(mask, b.add(at))) };
        first = term(x, y, first);
        at += left;
    }
    _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(first, second), _mm512_add_ps(third, fourth)))
}

#[target_feature(enable = "avx512f")]
fn dot_512(a: &[f32], b: &[f32]) -> f32 {
    floats_512(a, b, |x, y, sum| _mm512_fmadd_ps(x, y, sum))
}

#[target_feature(enable = "avx512f")]
fn squared_distance_512(a: &[f32], b: &[f32]) -> f32 {
    floats_512(a, b, |x, y, sum| {
        let apart = _mm512_sub_ps(x, y);
        _mm512_fmadd_ps(apart, apart, sum)
    })
}

#[target_feature(enable = "avx2,fma")]
fn halves_256(line: &Line) -> [__m256i; 2] {
    let start = line.0.as_ptr().cast::<__m256i>();
    // SAFETY: a line is 64 bytes at a multiple of 64: two aligned halves of 32.
    unsafe { [_mm256_load_si256(start), _mm256_load_si256(start.add(1))] }
}

#[target_feature(enable = "avx2,fma")]
fn total_256(sum: __m256i) -> i32 {
    let sum = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
    let sum = _mm_add_epi32(sum, _mm_shuffle_epi32::<0b01_00_11_10>(sum));
    _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32::<0b10_11_00_01>(sum)))
}

#[target_feature(enable = "avx2,fma")]
fn dot_codes_256(a: &[Line], b: &[Line]) -> i32 {
    let ones = _mm256_set1_epi16(1);
    let mut sums = [_mm256_setzero_si256(); 2];
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(halves_256(a)).zip(halves_256(b)) {
            // The sign of `a` moves to `b`; without −128 two products fit into 16 bits.
            let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(a), _mm256_sign_epi8(b, a));
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
        }
    }
    let [first, second] = sums;
    total_256(_mm256_add_epi32(first, second))
}

#[target_feature(enable = "avx2,fma")]
fn sum_where_256(bits: &[[u8; 8]], codes: &[Line]) -> i32 {
    let (ones, ones_16) = (_mm256_set1_epi8(1), _mm256_set1_epi16(1));
    // Byte 8 n + i of a half is bit i of byte n of its bits.
    let spread = _mm256_setr_epi64x(0, 0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0x0303_0303_0303_0303);
    let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
    let mut sum = _mm256_setzero_si256();
    for (bits, line) in bits.iter().zip(codes) {
        let bits = u64::from_le_bytes(*bits);
        for (half, codes) in [bits as i32, (bits >> 32) as i32].into_iter().zip(halves_256(line)) {
            let spread = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(half), spread), bit);
            let picked = _mm256_and_si256(_mm256_cmpeq_epi8(spread, bit), codes);
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(ones, picked), ones_16));
        }
    }
    total_256(sum)
}

#[target_feature(enable = "avx2,fma")]
fn floats_256(
    a: &[f32],
    b: &[f32],
    term: impl Fn(__m256, __m256, __m256) -> __m256,
    rest: impl Fn(f32, f32) -> f32,
) -> f32 {
    let length = a.len().min(b.len());
    let mut sums = [_mm256_setzero_ps(); 4];
    let (x, y) = (a.as_ptr(), b.as_ptr());
    let mut at = 0;
    while at + 32 <= length {
        for (sum, part) in sums.iter_mut().zip([0, 8, 16, 24]) {
            // SAFETY: 32 floats from `at` on are within both slices.
            let (x, y) = unsafe { (_mm256_loadu_ps(x.add(at + part)), _mm256_loadu_ps(y.add(at + part))) };
            *sum = term(x, y, *sum);
        }
        at += 32;
    }
    let [first, second, third, fourth] = sums;
    let sum = _mm256_add_ps(_mm256_add_ps(first, second), _mm256_add_ps(third, fourth));
    let sum = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps::<1>(sum));
    let sum = _mm_hadd_ps(sum, sum);
    let rest: f32 = a.iter().zip(b).skip(at).map(|(x, y)| rest(*x, *y)).sum();
    _mm_cvtss_f32(_mm_hadd_ps(sum, sum)) + rest
}

#[target_feature(enable = "avx2,fma")]
fn dot_256(a: &[f32], b: &[f32]) -> f32 {
    floats_256(a, b, |x, y, sum| _mm256_fmadd_ps(x, y, sum), |x, y| x * y)
}

#[target_feature(enable = "avx2,fma")]
fn squared_distance_256(a: &[f32], b: &[f32]) -> f32 {
    let term = |x, y, sum| {
        let apart = _mm256_sub_ps(x, y);
        _mm256_fmadd_ps(apart, apart, sum)
    };
    floats_256(a, b, term, |x, y| (x - y) * (x - y))
}
