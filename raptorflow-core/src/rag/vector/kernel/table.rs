//! `Kernels`: the functions of one instruction set, and which one this processor has.

use std::sync::LazyLock;

use crate::rag::vector::kernel::{Line, plain};

/// The kernels of one instruction set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernels {
    /// The instruction set.
    pub(crate) name: &'static str,
    /// The dot product; the shorter slice decides how far.
    pub(crate) dot: fn(&[f32], &[f32]) -> f32,
    /// The squared Euclidean distance; the shorter slice decides how far.
    pub(crate) squared_distance: fn(&[f32], &[f32]) -> f32,
    /// The dot product of codes from −127 to 127, exact up to 65,536 of them.
    pub(crate) dot_codes: fn(&[Line], &[Line]) -> i32,
    /// The sum of the codes whose bit is set; eight bytes of bits to a line.
    pub(crate) sum_where: fn(&[[u8; 8]], &[Line]) -> i32,
}

const PLAIN: Kernels = Kernels {
    name: "plain",
    dot: plain::dot,
    squared_distance: plain::squared_distance,
    dot_codes: plain::dot_codes,
    sum_where: plain::sum_where,
};

static BEST: LazyLock<Kernels> = LazyLock::new(|| Kernels::available().first().copied().unwrap_or(PLAIN));

/// The fastest kernels of this processor.
pub(crate) fn kernels() -> &'static Kernels {
    &BEST
}

impl Kernels {
    /// All kernels that this processor has, the fastest first and the plain ones last.
    pub(crate) fn available() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        all.extend(crate::rag::vector::kernel::x86::available());
        #[cfg(target_arch = "aarch64")]
        all.extend(crate::rag::vector::kernel::neon::available());
        all.push(PLAIN);
        all
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn close(a: f32, b: f32, size: f32) -> bool {
        (a - b).abs() <= 1e-4 * (1.0 + size)
    }

    #[test]
    fn every_kernel_of_floats_equals_the_plain_one_at_every_length_and_alignment() {
        let mut random = fastrand::Rng::with_seed(1);
        let numbers: Vec<f32> = (0..1_000).map(|_| random.f32() * 2.0 - 1.0).collect();
        for kernels in Kernels::available() {
            for length in (0..300).chain([383, 384, 385, 511, 512]) {
                for (at, other) in [(0, 350), (1, 356), (3, 349), (7, 351), (15, 355)] {
                    // Not of one length: the shorter one decides.
                    let (a, b) = (&numbers[at..at + length], &numbers[other..other + length + at]);
                    let size = length as f32;
                    let (dot, plain) = ((kernels.dot)(a, b), plain::dot(a, b));
                    assert!(close(dot, plain, size), "{} {length} {at}: {dot} {plain}", kernels.name);
                    let (far, plain) = ((kernels.squared_distance)(a, b), plain::squared_distance(a, b));
                    assert!(close(far, plain, size), "{} {length} {at}: {far} {plain}", kernels.name);
                }
            }
        }
    }

    #[test]
    fn the_largest_codes_do_not_overflow() {
        for kernels in Kernels::available() {
            for (x, y) in [(127_i8, 127_i8), (-127, 127), (-127, -127)] {
                let (a, b) = (vec![Line([x as u8; 64]); 1024], vec![Line([y as u8; 64]); 1024]);
                let expected = i32::from(x) * i32::from(y) * 65_536;
                assert_eq!((kernels.dot_codes)(&a, &b), expected, "{}", kernels.name);
                assert_eq!(
                    (kernels.sum_where)(&[[0xff; 8]; 1024], &a),
                    i32::from(x) * 65_536,
                    "{}",
                    kernels.name
                );
            }
        }
    }

    proptest! {
        #[test]
        fn every_kernel_of_codes_equals_the_plain_one(
            seed in any::<u64>(),
            lines in 0usize..18,
            other in 0usize..18,
        ) {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut made = |lines: usize| -> Vec<Line> {
                (0..lines).map(|_| Line(std::array::from_fn(|_| random.i8(-127..=127) as u8))).collect()
            };
            let (a, b) = (made(lines), made(other));
            let bits: Vec<[u8; 8]> = made(lines).iter().map(|line| [line.0[0], 1, 0x80, 0xff, 0, line.0[9], 7, 200]).collect();
            for kernels in Kernels::available() {
                prop_assert_eq!((kernels.dot_codes)(&a, &b), plain::dot_codes(&a, &b), "{}", kernels.name);
                prop_assert_eq!((kernels.sum_where)(&bits, &b), plain::sum_where(&bits, &b), "{}", kernels.name);
            }
        }

        #[test]
        fn plain_kernels_equal_sums_in_double_precision(pairs in proptest::collection::vec((-10.0f32..10.0, -10.0f32..10.0), 0..70)) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let exact = |term: fn(f64, f64) -> f64| -> f64 {
                a.iter().zip(&b).map(|(x, y)| term(f64::from(*x), f64::from(*y))).sum()
            };
            prop_assert!((f64::from(plain::dot(&a, &b)) - exact(|x, y| x * y)).abs() < 1e-2);
            prop_assert!((f64::from(plain::squared_distance(&a, &b)) - exact(|x, y| (x - y).powi(2))).abs() < 1e-1);
        }
    }
}
