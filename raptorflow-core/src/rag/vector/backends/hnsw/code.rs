//! `Coder`: small codes of vectors, and the estimates of distances that a walk goes by.
//!
//! A vector is moved by the center of the data and scaled so that its numbers fit into eight bits.
//! With `x' = x − center`, every metric is `bias(a) + bias(b) − w · a'·b'` up to a term of the query alone, so that one
//! formula serves all; distances between codes are of the same kind, which building the graph needs.
//! In front of the codes stands a head: four numbers, and the signs of the vector as bits.
//! From the signs alone comes a rough distance and how far off it may be, and most codes need not be read at all.

use crate::rag::vector::{
    Metric,
    kernel::{Kernels, Line, bytes, kernels, norm},
};

/// The largest code; −128 is left out, so that the product of two signs fits everywhere.
const LARGEST: f32 = 127.0;
/// How many bytes of numbers stand before the signs.
const NUMBERS: usize = 16;
/// How many standard deviations a rough distance may be off before it counts as wrong.
const DOUBT: f32 = 1.0;

/// What is known of a vector beside its codes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Head {
    /// What one step of the codes is worth.
    scale: f32,
    /// Its own part of every distance.
    bias: f32,
    /// What a sum over its signs is worth.
    sign_scale: f32,
    /// The standard deviation of a rough product with a query of length 1.
    sign_doubt: f32,
}

/// A vector in codes, as a walk compares it with others.
#[derive(Clone, Debug, Default)]
pub(super) struct Coded {
    pub(super) head: Head,
    pub(super) codes: Vec<Line>,
    pub(super) signs: Vec<u8>,
    /// The sum of all codes, worth its scale.
    total: i32,
    /// The length of the moved vector.
    length: f32,
}

/// Makes codes of vectors around a center, and compares them.
#[derive(Clone, Debug)]
pub(super) struct Coder {
    pub(super) kernels: &'static Kernels,
    /// What a product of moved vectors weighs: twice in a squared distance.
    weight: f32,
    euclidean: bool,
    pub(super) center: Vec<f32>,
    /// How many lines the codes of a vector take.
    pub(super) code_lines: usize,
    /// How many lines a head takes.
    pub(super) head_lines: usize,
}

impl Coder {
    pub(super) fn new(dimension: usize, metric: Metric) -> Self {
        let code_lines = dimension.div_ceil(64);
        let euclidean = metric == Metric::Euclidean;
        Self {
            kernels: kernels(),
            weight: if euclidean { 2.0 } else { 1.0 },
            euclidean,
            center: vec![0.0; dimension],
            code_lines,
            head_lines: (NUMBERS + code_lines * 8).div_ceil(64),
        }
    }

    /// The codes of a vector.
    pub(super) fn encode(&self, vector: &[f32], coded: &mut Coded) {
        coded.codes.clear();
        coded.codes.resize(self.code_lines, Line::ZERO);
        coded.signs.clear();
        coded.signs.resize(self.code_lines * 8, 0);
        let moved = || vector.iter().zip(&self.center).map(|(x, center)| x - center);
        let (mut most, mut sum, mut squares, mut inner) = (0.0_f32, 0.0_f64, 0.0_f64, 0.0_f64);
        for (x, center) in moved().zip(&self.center) {
            most = most.max(x.abs());
            sum += f64::from(x.abs());
            squares += f64::from(x) * f64::from(x);
            inner += f64::from(x) * f64::from(*center) + f64::from(center * center) / 2.0;
        }
        let steps = if most > 0.0 { LARGEST / most } else { 0.0 };
        coded.total = 0;
        let mut rest = moved();
        for (line, signs) in coded.codes.iter_mut().zip(coded.signs.chunks_exact_mut(8)) {
            for (bytes, signs) in line.0.chunks_exact_mut(8).zip(signs) {
                for ((byte, x), bit) in bytes.iter_mut().zip(rest.by_ref()).zip(0..) {
                    let code = (x * steps).round_ties_even() as i8;
                    *byte = code as u8;
                    coded.total += i32::from(code);
                    *signs |= u8::from(x > 0.0) << bit;
                }
            }
        }
        let dimension = vector.len().max(1) as f64;
        // The share of a vector's length that its signs keep: 0.8 for the usual bell curve, 1 for equal numbers.
        let kept = sum * sum / (dimension * squares).max(f64::MIN_POSITIVE);
        coded.length = squares.sqrt() as f32;
        coded.head = Head {
            scale: most / LARGEST,
            bias: if self.euclidean { squares as f32 } else { -inner as f32 },
            sign_scale: if sum > 0.0 { (squares / sum) as f32 } else { 0.0 },
            sign_doubt: ((squares * (1.0 / kept.max(1e-6) - 1.0).max(0.0) / dimension).sqrt()) as f32,
        };
    }

    /// Writes the head of a vector as lines.
    pub(super) fn write_head(&self, coded: &Coded, lines: &mut [Line]) {
        let Head { scale, bias, sign_scale, sign_doubt } = coded.head;
        let numbers = [scale, bias, sign_scale, sign_doubt].into_iter().flat_map(f32::to_le_bytes);
        let all = numbers.chain(coded.signs.iter().copied());
        for (byte, value) in lines.iter_mut().flat_map(|line| &mut line.0).zip(all) {
            *byte = value;
        }
    }

    #[inline]
    fn head(lines: &[Line]) -> (Head, &[[u8; 8]]) {
        let (parts, _) = bytes(lines).as_chunks::<8>();
        let [first, second, signs @ ..] = parts else { return (Head::default(), &[]) };
        let number = |part: &[u8; 8], high: bool| {
            let both = u64::from_le_bytes(*part);
            f32::from_bits(if high { (both >> 32) as u32 } else { both as u32 })
        };
        let head = Head {
            scale: number(first, false),
            bias: number(first, true),
            sign_scale: number(second, false),
            sign_doubt: number(second, true),
        };
        (head, signs)
    }

    /// A distance that the true one is hardly ever below, by the signs of a stored vector.
    #[inline]
    pub(super) fn at_least(&self, query: &Coded, head: &[Line]) -> f32 {
        let (head, signs) = Self::head(head);
        let picked = (self.kernels.sum_where)(signs, &query.codes);
        let product = (2 * picked - query.total) as f32 * query.head.scale * head.sign_scale;
        let doubt = head.sign_doubt * query.length * DOUBT;
        query.head.bias + head.bias - self.weight * (product + doubt)
    }

    /// The distance to a stored vector by its codes.
    #[inline]
    pub(super) fn distance(&self, query: &Coded, head: &[Line], codes: &[Line]) -> f32 {
        let (head, _) = Self::head(head);
        let product = (self.kernels.dot_codes)(&query.codes, codes);
        query.head.bias + head.bias - self.weight * query.head.scale * head.scale * product as f32
    }

    /// The distance between two stored vectors by their codes.
    pub(super) fn between(&self, a: (&[Line], &[Line]), b: (&[Line], &[Line])) -> f32 {
        let ((a, _), (b, _), product) =
            (Self::head(a.0), Self::head(b.0), (self.kernels.dot_codes)(a.1, b.1));
        a.bias + b.bias - self.weight * a.scale * b.scale * product as f32
    }

    /// Moves the center to the mean of vectors.
    pub(super) fn center_on<'a>(&mut self, vectors: impl Iterator<Item = &'a [f32]>) {
        let mut sums = vec![0.0_f64; self.center.len()];
        let mut count = 0_u32;
        for vector in vectors {
            count += 1;
            for (sum, x) in sums.iter_mut().zip(vector) {
                *sum += f64::from(*x);
            }
        }
        let center: Vec<f32> = sums.iter().map(|sum| (sum / f64::from(count.max(1))) as f32).collect();
        if norm(&center).is_finite() {
            self.center = center;
        }
    }
}
