//! Products of a few rows with one panel of columns, in registers; `unsafe` is loads, stores and calls.
#![expect(unsafe_code, reason = "loads and stores of intrinsics, within slices")]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m256, __m256i, __m512, __m512i, _mm_loadu_si128, _mm256_add_epi32, _mm256_cvtepi8_epi16,
    _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_madd_epi16, _mm256_set1_epi32, _mm256_set1_ps,
    _mm256_setzero_ps, _mm256_setzero_si256, _mm256_storeu_ps, _mm256_storeu_si256, _mm512_dpbusd_epi32,
    _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setzero_ps, _mm512_setzero_si512, _mm512_storeu_ps, _mm512_storeu_si512,
};

use crate::rag::minilm::lane::PLAIN_FUSED;

/// A product of a few rows with one panel of columns.
///
/// All that it reads lies within the slices, whatever their lengths; the shortest decides how far.
pub(super) trait Tile<const W: usize> {
    type Left: Copy;
    type Right: Copy;
    type Sum: Copy + Default;
    /// How many rows the registers hold at once.
    const ROWS: usize;

    fn tile<const R: usize>(rows: &[&[Self::Left]; R], panel: &[Self::Right]) -> [[Self::Sum; W]; R];
}

/// The shortest of some rows.
#[inline(always)]
fn shortest<T, const R: usize>(rows: &[&[T]; R]) -> usize {
    rows.iter().map(|row| row.len()).min().unwrap_or(0)
}

#[cfg(target_arch = "x86_64")]
pub(super) struct Avx512;

#[cfg(target_arch = "x86_64")]
impl Tile<32> for Avx512 {
    type Left = f32;
    type Right = f32;
    type Sum = f32;
    // 24 sums, 2 of weights and 1 of the row make 27 of 32 registers.
    const ROWS: usize = 12;

    #[inline(always)]
    fn tile<const R: usize>(rows: &[&[f32]; R], panel: &[f32]) -> [[f32; 32]; R] {
        #[target_feature(enable = "avx512f")]
        #[inline]
        fn run<const R: usize>(rows: &[&[f32]; R], panel: &[f32]) -> [[f32; 32]; R] {
            let (panel, _) = panel.as_chunks::<32>();
            let pointers = rows.map(<[f32]>::as_ptr);
            let mut sums: [[__m512; 2]; R] = [[_mm512_setzero_ps(); 2]; R];
            for (at, weights) in panel.iter().take(shortest(rows)).enumerate() {
                // SAFETY: `weights` has 32 numbers.
                let (low, high) =
                    unsafe { (_mm512_loadu_ps(weights.as_ptr()), _mm512_loadu_ps(weights.as_ptr().add(16))) };
                for (sum, row) in sums.iter_mut().zip(pointers) {
                    // SAFETY: `at` is below the length of the shortest row.
                    let x = _mm512_set1_ps(unsafe { *row.add(at) });
                    *sum = [_mm512_fmadd_ps(x, low, sum[0]), _mm512_fmadd_ps(x, high, sum[1])];
                }
            }
            let mut out = [[0.0; 32]; R];
            for (out, sum) in out.iter_mut().zip(sums) {
                // SAFETY: `out` has 32 numbers.
                unsafe {
                    _mm512_storeu_ps(out.as_mut_ptr(), sum[0]);
                    _mm512_storeu_ps(out.as_mut_ptr().add(16), sum[1]);
                }
            }
            out
        }
        // SAFETY: only `multiply` names this type, in code that runs where AVX-512 was found.
        unsafe { run(rows, panel) }
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) struct Avx2;

#[cfg(target_arch = "x86_64")]
impl Tile<16> for Avx2 {
    type Left = f32;
    type Right = f32;
    type Sum = f32;
    // 12 sums, 2 of weights and 1 of the row make 15 of 16 registers.
    const ROWS: usize = 6;

    #[inline(always)]
    fn tile<const R: usize>(rows: &[&[f32]; R], panel: &[f32]) -> [[f32; 16]; R] {
        #[target_feature(enable = "avx2,fma")]
        #[inline]
        fn run<const R: usize>(rows: &[&[f32]; R], panel: &[f32]) -> [[f32; 16]; R] {
            let (panel, _) = panel.as_chunks::<16>();
            let pointers = rows.map(<[f32]>::as_ptr);
            let mut sums: [[__m256; 2]; R] = [[_mm256_setzero_ps(); 2]; R];
            for (at, weights) in panel.iter().take(shortest(rows)).enumerate() {
                // SAFETY: `weights` has 16 numbers.
                let (low, high) =
                    unsafe { (_mm256_loadu_ps(weights.as_ptr()), _mm256_loadu_ps(weights.as_ptr().add(8))) };
                for (sum, row) in sums.iter_mut().zip(pointers) {
                    // SAFETY: `at` is below the length of the shortest row.
                    let x = _mm256_set1_ps(unsafe { *row.add(at) });
                    *sum = [_mm256_fmadd_ps(x, low, sum[0]), _mm256_fmadd_ps(x, high, sum[1])];
                }
            }
            let mut out = [[0.0; 16]; R];
            for (out, sum) in out.iter_mut().zip(sums) {
                // SAFETY: `out` has 16 numbers.
                unsafe {
                    _mm256_storeu_ps(out.as_mut_ptr(), sum[0]);
                    _mm256_storeu_ps(out.as_mut_ptr().add(8), sum[1]);
                }
            }
            out
        }
        // SAFETY: only `multiply` names this type, in code that runs where AVX2 and FMA were found.
        unsafe { run(rows, panel) }
    }
}

pub(super) struct Plain;

impl Tile<16> for Plain {
    type Left = f32;
    type Right = f32;
    type Sum = f32;
    const ROWS: usize = if cfg!(target_arch = "aarch64") { 6 } else { 2 };

    #[inline(always)]
    fn tile<const R: usize>(rows: &[&[f32]; R], panel: &[f32]) -> [[f32; 16]; R] {
        let (panel, _) = panel.as_chunks::<16>();
        let mut sums = [[0.0_f32; 16]; R];
        for (at, weights) in panel.iter().enumerate() {
            for (sums, row) in sums.iter_mut().zip(rows) {
                let x = row.get(at).copied().unwrap_or_default();
                for (sum, weight) in sums.iter_mut().zip(weights) {
                    *sum = if PLAIN_FUSED { x.mul_add(*weight, *sum) } else { *sum + x * weight };
                }
            }
        }
        sums
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) struct Vnni;

#[cfg(target_arch = "x86_64")]
impl Tile<32> for Vnni {
    type Left = u8;
    type Right = i8;
    type Sum = i32;
    const ROWS: usize = 12;

    #[inline(always)]
    fn tile<const R: usize>(rows: &[&[u8]; R], panel: &[i8]) -> [[i32; 32]; R] {
        #[target_feature(enable = "avx512f,avx512vnni")]
        #[inline]
        fn run<const R: usize>(rows: &[&[u8]; R], panel: &[i8]) -> [[i32; 32]; R] {
            let (panel, _) = panel.as_chunks::<128>();
            let pointers = rows.map(|row| row.as_ptr().cast::<i32>());
            let mut sums: [[__m512i; 2]; R] = [[_mm512_setzero_si512(); 2]; R];
            for (at, weights) in panel.iter().take(shortest(rows) / 4).enumerate() {
                // SAFETY: `weights` has 128 bytes.
                let (low, high) = unsafe {
                    (
                        _mm512_loadu_si512(weights.as_ptr().cast()),
                        _mm512_loadu_si512(weights.as_ptr().add(64).cast()),
                    )
                };
                for (sum, row) in sums.iter_mut().zip(pointers) {
                    // SAFETY: the shortest row has 4 bytes at 4 · `at`.
                    let x = _mm512_set1_epi32(unsafe { row.add(at).read_unaligned() });
                    *sum = [_mm512_dpbusd_epi32(sum[0], x, low), _mm512_dpbusd_epi32(sum[1], x, high)];
                }
            }
            let mut out = [[0; 32]; R];
            for (out, sum) in out.iter_mut().zip(sums) {
                // SAFETY: `out` has 32 numbers.
                unsafe {
                    _mm512_storeu_si512(out.as_mut_ptr().cast(), sum[0]);
                    _mm512_storeu_si512(out.as_mut_ptr().add(16).cast(), sum[1]);
                }
            }
            out
        }
        // SAFETY: only `multiply_fours` names this type, in code that runs where AVX-512 VNNI was found.
        unsafe { run(rows, panel) }
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) struct Avx2Pairs;

#[cfg(target_arch = "x86_64")]
impl Tile<16> for Avx2Pairs {
    // Bytes times bytes would be added up in 16 bits and overflow, so bytes are widened first.
    type Left = i16;
    type Right = i8;
    type Sum = i32;
    const ROWS: usize = 6;

    #[inline(always)]
    fn tile<const R: usize>(rows: &[&[i16]; R], panel: &[i8]) -> [[i32; 16]; R] {
        #[target_feature(enable = "avx2")]
        #[inline]
        fn run<const R: usize>(rows: &[&[i16]; R], panel: &[i8]) -> [[i32; 16]; R] {
            let (panel, _) = panel.as_chunks::<32>();
            let pointers = rows.map(|row| row.as_ptr().cast::<i32>());
            let mut sums: [[__m256i; 2]; R] = [[_mm256_setzero_si256(); 2]; R];
            for (at, weights) in panel.iter().take(shortest(rows) / 2).enumerate() {
                // SAFETY: `weights` has 32 bytes.
                let (low, high) = unsafe {
                    (
                        _mm_loadu_si128(weights.as_ptr().cast()),
                        _mm_loadu_si128(weights.as_ptr().add(16).cast()),
                    )
                };
                let (low, high) = (_mm256_cvtepi8_epi16(low), _mm256_cvtepi8_epi16(high));
                for (sum, row) in sums.iter_mut().zip(pointers) {
                    // SAFETY: the shortest row has 2 numbers at 2 · `at`.
                    let x = _mm256_set1_epi32(unsafe { row.add(at).read_unaligned() });
                    *sum = [
                        _mm256_add_epi32(sum[0], _mm256_madd_epi16(x, low)),
                        _mm256_add_epi32(sum[1], _mm256_madd_epi16(x, high)),
                    ];
                }
            }
            let mut out = [[0; 16]; R];
            for (out, sum) in out.iter_mut().zip(sums) {
                // SAFETY: `out` has 16 numbers.
                unsafe {
                    _mm256_storeu_si256(out.as_mut_ptr().cast(), sum[0]);
                    _mm256_storeu_si256(out.as_mut_ptr().add(8).cast(), sum[1]);
                }
            }
            out
        }
        // SAFETY: only `multiply_pairs` names this type, in code that runs where AVX2 was found.
        unsafe { run(rows, panel) }
    }
}

pub(super) struct PlainPairs;

impl Tile<16> for PlainPairs {
    type Left = i16;
    type Right = i8;
    type Sum = i32;
    const ROWS: usize = 2;

    #[inline(always)]
    fn tile<const R: usize>(rows: &[&[i16]; R], panel: &[i8]) -> [[i32; 16]; R] {
        let (panel, _) = panel.as_chunks::<32>();
        let mut sums = [[0; 16]; R];
        for (sums, row) in sums.iter_mut().zip(rows) {
            for (weights, x) in panel.iter().zip(row.as_chunks::<2>().0) {
                for (sum, weight) in sums.iter_mut().zip(weights.as_chunks::<2>().0) {
                    *sum += i32::from(x[0]) * i32::from(weight[0]) + i32::from(x[1]) * i32::from(weight[1]);
                }
            }
        }
        sums
    }
}
