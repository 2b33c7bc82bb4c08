//! The kernels in plain code: the reference of the others, and what runs where no instruction set is known.

use crate::rag::vector::kernel::Line;

/// Independent sums: they break the chain of dependent additions and fill whatever registers there are.
const LANES: usize = 16;

fn lanes(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    // Cut to one length first: else the rests would not face each other.
    let length = a.len().min(b.len());
    let (a, b) = (a.split_at(length).0, b.split_at(length).0);
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

pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    lanes(a, b, |x, y| x * y)
}

pub(super) fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    lanes(a, b, |x, y| (x - y) * (x - y))
}

pub(super) fn dot_codes(a: &[Line], b: &[Line]) -> i32 {
    let products = |(a, b): (&Line, &Line)| -> i32 {
        a.0.iter().zip(&b.0).map(|(x, y)| i32::from(*x as i8) * i32::from(*y as i8)).sum()
    };
    a.iter().zip(b).map(products).sum()
}

pub(super) fn sum_where(bits: &[[u8; 8]], codes: &[Line]) -> i32 {
    let picked = |(bits, line): (&[u8; 8], &Line)| -> i32 {
        let bits = u64::from_le_bytes(*bits);
        line.0.iter().zip(0..).filter(|(_, at)| bits >> at & 1 == 1).map(|(x, _)| i32::from(*x as i8)).sum()
    };
    bits.iter().zip(codes).map(picked).sum()
}
