//! The arithmetic of vectors, written so that the compiler turns it into SIMD.

/// Independent sums: they break the chain of dependent additions and fill the widest registers.
const LANES: usize = 16;

fn lanes(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for ((sum, x), y) in sums.iter_mut().zip(a).zip(b) {
            *sum += term(*x, *y);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(x, y)| term(*x, *y)).sum();
    sums.iter().sum::<f32>() + rest
}

/// The dot product; the shorter slice decides how far.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    lanes(a, b, |x, y| x * y)
}

/// The squared Euclidean distance; the shorter slice decides how far.
pub(crate) fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    lanes(a, b, |x, y| (x - y) * (x - y))
}

/// The length of a vector; in f64, because squares of large numbers leave the range of f32.
pub(crate) fn norm(vector: &[f32]) -> f64 {
    vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt()
}

/// Appends `vector` scaled to length 1.
pub(crate) fn push_unit(vector: &[f32], out: &mut Vec<f32>) {
    let scale = norm(vector).recip();
    out.extend(vector.iter().map(|x| (f64::from(*x) * scale) as f32));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::*;

    proptest! {
        #[test]
        fn the_lanes_equal_plain_sums(pairs in proptest::collection::vec((-10.0f32..10.0, -10.0f32..10.0), 0..70)) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let plain = |term: fn(f64, f64) -> f64| -> f64 {
                a.iter().zip(&b).map(|(x, y)| term(f64::from(*x), f64::from(*y))).sum()
            };
            prop_assert!((f64::from(dot(&a, &b)) - plain(|x, y| x * y)).abs() < 1e-2);
            prop_assert!((f64::from(squared_distance(&a, &b)) - plain(|x, y| (x - y).powi(2))).abs() < 1e-1);
        }
    }

    #[test]
    fn huge_and_tiny_vectors_get_length_one() {
        for scale in [1e-30_f32, 1.0, 1e30] {
            let mut unit = Vec::new();
            push_unit(&[3.0 * scale, 4.0 * scale], &mut unit);
            assert!((unit[0] - 0.6).abs() < 1e-6 && (unit[1] - 0.8).abs() < 1e-6, "{unit:?}");
        }
    }
}
