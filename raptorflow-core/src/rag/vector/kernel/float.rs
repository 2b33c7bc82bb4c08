//! Vectors of floats: products and distances by the fastest kernels, and lengths.

use crate::rag::vector::kernel::kernels;

/// The dot product; the shorter slice decides how far.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    (kernels().dot)(a, b)
}

/// The squared Euclidean distance; the shorter slice decides how far.
pub(crate) fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    (kernels().squared_distance)(a, b)
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
    use super::*;

    #[test]
    fn huge_and_tiny_vectors_get_length_one() {
        for scale in [1e-30_f32, 1.0, 1e30] {
            let mut unit = Vec::new();
            push_unit(&[3.0 * scale, 4.0 * scale], &mut unit);
            assert!((unit[0] - 0.6).abs() < 1e-6 && (unit[1] - 0.8).abs() < 1e-6, "{unit:?}");
        }
    }
}
