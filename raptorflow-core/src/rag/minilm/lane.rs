//! What the encoder does number by number, written so that the compiler turns it into wide instructions.

/// Whether plain code has a fused multiply-add; where it has none, `mul_add` is a slow call.
pub(super) const PLAIN_FUSED: bool = cfg!(any(target_arch = "aarch64", target_feature = "fma"));
/// Independent sums, as many as the widest registers hold.
const LANES: usize = 16;

/// `a · b + c`; rounded once where the processor can, and never a call of a function.
#[inline(always)]
fn fused<const F: bool>(a: f32, b: f32, c: f32) -> f32 {
    if F { a.mul_add(b, c) } else { a * b + c }
}

/// A polynomial, the highest coefficient first.
#[inline(always)]
fn polynomial<const F: bool, const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut sum = 0.0;
    for coefficient in coefficients {
        sum = fused::<F>(sum, x, coefficient);
    }
    sum
}

/// `e` to the power of `x`, within 2e-7 of itself, for `x` from −87 to 87; what is lower is as −87.
#[inline(always)]
fn exp<const F: bool>(x: f32) -> f32 {
    // Adding 1.5 · 2^23 rounds to a whole number, which then stands in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 87.0);
    let shifted = fused::<F>(x, std::f32::consts::LOG2_E, ROUND);
    let whole = shifted - ROUND;
    // ln 2 in two parts, so that the rest is exact.
    let rest = fused::<F>(whole, -0.693_359_4, x);
    let rest = fused::<F>(whole, 2.121_944_4e-4, rest);
    let terms = [1.987_569_2e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    let power = fused::<F>(polynomial::<F, 6>(rest, terms), rest * rest, rest) + 1.0;
    power * f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0_f32.to_bits()))
}

/// The error function, within 1e-7; N. Juffa's two ranges, both computed so that no lane branches.
#[inline(always)]
fn erf<const F: bool>(x: f32) -> f32 {
    let (size, square) = (x.abs(), x * x);
    let near =
        [-5.967_617e-4, 4.991_194_2e-3, -2.676_813_5e-2, 1.128_199_25e-1, -3.761_253_4e-1, 1.283_791_7e-1];
    let near = fused::<F>(polynomial::<F, 6>(square, near), x, x);
    let capped = size.min(4.0);
    let far = [
        -1.728_534_7e-5,
        3.831_971_3e-4,
        -3.883_964_4e-3,
        2.425_462_2e-2,
        -1.067_778_8e-1,
        -6.348_467e-1,
        -1.287_175_1e-1,
    ];
    let far = fused::<F>(polynomial::<F, 7>(capped, far), capped, -capped);
    let far = (1.0 - exp::<F>(far)).copysign(x);
    if size > 0.927_734_4 { far } else { near }
}

#[inline(always)]
pub(super) fn gelu_body<const F: bool>(values: &mut [f32]) {
    for x in values {
        let half = 0.5 * *x;
        *x = fused::<F>(half, erf::<F>(*x * std::f32::consts::FRAC_1_SQRT_2), half);
    }
}

/// Adds up what `term` makes of the numbers.
#[inline(always)]
fn sum(values: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *sum += term(*x);
        }
    }
    sums.iter().sum::<f32>() + rest.iter().map(|x| term(*x)).sum::<f32>()
}

/// The lowest and the highest number; 0 and 0 of none.
#[inline(always)]
fn range(values: &[f32]) -> (f32, f32) {
    let Some(first) = values.first().copied() else { return (0.0, 0.0) };
    let (mut lows, mut highs) = ([first; LANES], [first; LANES]);
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for ((low, high), x) in lows.iter_mut().zip(&mut highs).zip(chunk) {
            // Comparisons, because `f32::min` looks at NaN and is slower.
            *low = if *x < *low { *x } else { *low };
            *high = if *x > *high { *x } else { *high };
        }
    }
    (
        lows.iter().chain(rest).copied().fold(first, f32::min),
        highs.iter().chain(rest).copied().fold(first, f32::max),
    )
}

#[inline(always)]
pub(super) fn softmax_body<const F: bool>(values: &mut [f32], width: usize) {
    for row in values.chunks_exact_mut(width.max(1)) {
        let (_, high) = range(row);
        row.iter_mut().for_each(|x| *x = exp::<F>(*x - high));
        let scale = sum(row, |x| x).recip();
        row.iter_mut().for_each(|x| *x *= scale);
    }
}

/// Scale, shift and epsilon of a layer norm.
#[derive(Clone, Debug)]
pub(crate) struct Norm {
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
    pub(super) epsilon: f32,
}

#[inline(always)]
pub(super) fn norm_body<const F: bool>(values: &mut [f32], added: &[f32], norm: &Norm) {
    let width = norm.weight.len().max(1);
    for (row, added) in values.chunks_exact_mut(width).zip(added.chunks_exact(width)) {
        row.iter_mut().zip(added).for_each(|(x, y)| *x += y);
        let mean = sum(row, |x| x) / width as f32;
        let variance = sum(row, |x| (x - mean) * (x - mean)) / width as f32;
        let scale = (variance + norm.epsilon).sqrt().recip();
        for ((x, weight), bias) in row.iter_mut().zip(&norm.weight).zip(&norm.bias) {
            *x = fused::<F>((*x - mean) * scale, *weight, *bias);
        }
    }
}

/// A number of 8 bits, in the form that a product wants.
pub(super) trait Step: Copy + Default {
    /// From a whole number of 0 to 255 in the lowest bits.
    fn of(bits: u32) -> Self;
}

impl Step for u8 {
    #[inline(always)]
    fn of(bits: u32) -> Self {
        bits as Self
    }
}

impl Step for i16 {
    #[inline(always)]
    fn of(bits: u32) -> Self {
        (bits & 0xff) as Self
    }
}

#[inline(always)]
pub(super) fn quantize_body<const F: bool, S: Step>(
    values: &[f32],
    width: usize,
    out: &mut [S],
    stride: usize,
    scales: &mut Vec<(f32, f32)>,
) {
    const ROUND: f32 = 12_582_912.0;
    for (row, out) in values.chunks_exact(width.max(1)).zip(out.chunks_exact_mut(stride.max(1))) {
        let (low, high) = range(row);
        let (low, high) = (low.min(0.0), high.max(0.0));
        let step = ((high - low) / 255.0).max(f32::MIN_POSITIVE);
        let zero = (-low / step).round();
        let each = step.recip();
        for (x, out) in row.iter().zip(out) {
            let at = fused::<F>(*x, each, zero);
            let at = if at > 0.0 { at } else { 0.0 };
            let at = if at < 255.0 { at } else { 255.0 };
            *out = S::of((at + ROUND).to_bits());
        }
        scales.push((step, zero));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rag::minilm::kernel::{Level, add_and_norm, gelu, quantize, quantize_wide, softmax};

    /// By its series, in f64; exact enough below 4.
    fn erf_of(x: f64) -> f64 {
        let (mut term, mut sum) = (x, x);
        for n in 1..120 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    }

    #[test]
    fn the_error_function_is_within_a_ten_millionth() {
        for at in -4000..=4000 {
            let x = at as f32 / 1000.0;
            let exact = erf_of(f64::from(x));
            assert!((f64::from(erf::<true>(x)) - exact).abs() <= 1e-7, "{x}");
            assert!((f64::from(erf::<false>(x)) - exact).abs() <= 2e-7, "{x}");
        }
        assert_eq!((erf::<true>(30.0), erf::<true>(-30.0), erf::<true>(0.0)), (1.0, -1.0, 0.0));
    }

    #[test]
    fn powers_of_e_are_close_over_their_range() {
        for at in -8700..=8700 {
            let x = at as f32 / 100.0;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp::<true>(x)) / exact - 1.0).abs() <= 2e-7, "{x}");
        }
    }

    #[test]
    fn every_level_computes_the_same() {
        let values: Vec<f32> = (0..3 * 77).map(|at| ((at * 37 % 101) as f32 - 50.0) / 9.0).collect();
        let norm = Norm { weight: vec![1.5; 77], bias: vec![-0.25; 77], epsilon: 1e-12 };
        let run = |level| {
            let (mut a, mut b, mut c) = (values.clone(), values.clone(), values.clone());
            gelu(level, &mut a);
            softmax(level, &mut b, 77);
            add_and_norm(level, &mut c, &values, &norm);
            let (mut narrow, mut wide) = (vec![0; 3 * 80], vec![0; 3 * 80]);
            let (mut scales, mut others) = (Vec::new(), Vec::new());
            quantize(level, &values, 77, &mut narrow, 80, &mut scales);
            quantize_wide(level, &values, 77, &mut wide, 80, &mut others);
            assert_eq!(scales, others);
            assert_eq!(narrow.iter().map(|x| i16::from(*x)).collect::<Vec<_>>(), wide);
            for (row, (steps, (step, zero))) in values.chunks(77).zip(narrow.chunks(80).zip(&scales)) {
                for (x, at) in row.iter().zip(steps) {
                    assert!((step * (f32::from(*at) - zero) - x).abs() <= step * 0.501, "{x} {at}");
                }
            }
            [a, b, c].concat()
        };
        let plain = run(*Level::supported().last().unwrap());
        assert!((plain[77 * 3..77 * 4].iter().sum::<f32>() - 1.0).abs() < 1e-6);
        for level in Level::supported() {
            let off = run(level).iter().zip(&plain).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
            assert!(off < 2e-6, "{level:?} {off}");
        }
    }
}
