//! `Index`: unit vectors in one buffer, and short signatures of them that rule most of them out.

/// Independent sums, so that the compiler uses the widest registers.
const LANES: usize = 16;
/// How many words a signature has; its bits say on which side of as many planes a vector is.
const WORDS: usize = 4;
const BITS: usize = WORDS * 64;
/// From how many vectors on signatures are looked at first; fewer are compared one by one.
const MANY: usize = 2048;
/// How far a signature may be off what the angle lets expect, in standard deviations: one near vector in a thousand
/// million is missed, and then the model is asked.
const DEVIATIONS: f64 = 6.0;
/// The planes are the same each time, so that an index behaves the same on every machine.
const SEED: u64 = 0x7261_7074_6f72_666c;

/// Vectors of one length by place; a place may have none.
#[derive(Default)]
pub(super) struct Index {
    dimension: usize,
    /// All vectors, one behind the other; zeros where a place has none.
    vectors: Vec<f32>,
    signatures: Vec<[u64; WORDS]>,
    /// The normals of the planes, one behind the other.
    planes: Vec<f32>,
}

impl Index {
    /// Adds a place; a vector that is not usable, or not as long as the first one, is left out.
    pub(super) fn push(&mut self, vector: Option<&[f32]>) {
        let unit = vector.and_then(|vector| {
            if self.dimension == 0 {
                self.begin(vector.len());
            }
            self.unit(vector)
        });
        let signature = unit.as_deref().map_or([0; WORDS], |unit| self.signature(unit));
        self.signatures.push(signature);
        match unit {
            Some(unit) => self.vectors.extend_from_slice(&unit),
            None => self.vectors.extend(std::iter::repeat_n(0.0, self.dimension)),
        }
    }

    /// Forgets a place, which the last one takes.
    pub(super) fn swap_remove(&mut self, place: usize) {
        if place >= self.signatures.len() {
            return;
        }
        self.signatures.swap_remove(place);
        let (last, dimension) = (self.signatures.len() * self.dimension, self.dimension);
        if place * dimension < last {
            self.vectors.copy_within(last..last + dimension, place * dimension);
        }
        self.vectors.truncate(last);
    }

    /// The place of the nearest vector that fits, if its cosine is at least this.
    pub(super) fn nearest(&self, vector: &[f32], cosine: f32, fits: impl Fn(usize) -> bool) -> Option<usize> {
        let unit = self.unit(vector)?;
        let mut best: Option<(usize, f32)> = None;
        let mut look = |place: usize, other: &[f32]| {
            let found = dot(&unit, other);
            if found >= cosine && best.is_none_or(|(_, best)| found > best) && fits(place) {
                best = Some((place, found));
            }
        };
        if self.signatures.len() < MANY {
            let others = self.vectors.chunks_exact(self.dimension).enumerate();
            others.for_each(|(place, other)| look(place, other));
        } else {
            let (own, most) = (self.signature(&unit), most_differences(cosine));
            for (place, signature) in self.signatures.iter().enumerate() {
                if differences(&own, signature) <= most
                    && let Some(other) =
                        self.vectors.get(place * self.dimension..(place + 1) * self.dimension)
                {
                    look(place, other);
                }
            }
        }
        best.map(|(place, _)| place)
    }

    /// Takes the length of the first vector for all, and makes the planes.
    fn begin(&mut self, dimension: usize) {
        self.dimension = dimension;
        let mut random = fastrand::Rng::with_seed(SEED);
        // The sum of uniform numbers is near enough to a normal one for the direction to be even.
        let mut normal = || (0..4).map(|_| random.f32() - 0.5).sum::<f32>();
        self.planes = (0..dimension * BITS).map(|_| normal()).collect();
        self.vectors = vec![0.0; self.signatures.len() * dimension];
    }

    /// The vector with length 1; `None` for one of another dimension, and one without a direction.
    fn unit(&self, vector: &[f32]) -> Option<Vec<f32>> {
        // In f64, because squares of large numbers leave the range of f32.
        let norm = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
        let usable = vector.len() == self.dimension && norm.is_finite() && norm > 0.0;
        usable.then(|| vector.iter().map(|x| (f64::from(*x) / norm) as f32).collect())
    }

    fn signature(&self, unit: &[f32]) -> [u64; WORDS] {
        let mut signature = [0; WORDS];
        if self.dimension == 0 {
            return signature;
        }
        let mut planes = self.planes.chunks_exact(self.dimension);
        for word in &mut signature {
            for (bit, plane) in planes.by_ref().take(64).enumerate() {
                *word |= u64::from(dot(unit, plane) >= 0.0) << bit;
            }
        }
        signature
    }
}

/// In how many bits two signatures differ.
fn differences(a: &[u64; WORDS], b: &[u64; WORDS]) -> u32 {
    a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum()
}

/// In how many bits the signatures of two vectors of this cosine differ at most.
fn most_differences(cosine: f32) -> u32 {
    // A plane separates two vectors as often as their angle is a part of a half turn.
    let part = f64::from(cosine.clamp(-1.0, 1.0)).acos() / std::f64::consts::PI;
    let (mean, deviation) = (part * BITS as f64, (part * (1.0 - part) * BITS as f64).sqrt());
    DEVIATIONS.mul_add(deviation, mean).ceil() as u32
}

/// The dot product; the shorter slice decides how far.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for ((sum, x), y) in sums.iter_mut().zip(a).zip(b) {
            *sum += x * y;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(random: &mut fastrand::Rng, dimension: usize) -> Vec<f32> {
        (0..dimension).map(|_| random.f32() - 0.5).collect()
    }

    /// A vector at some angle from another one.
    fn near(of: &[f32], share: f32, random: &mut fastrand::Rng) -> Vec<f32> {
        let other = vector(random, of.len());
        of.iter().zip(other).map(|(x, y)| x + share * y).collect()
    }

    #[test]
    fn the_nearest_that_fits_is_found_among_few_and_among_many() {
        let mut random = fastrand::Rng::with_seed(7);
        for count in [300, 3 * MANY] {
            let mut index = Index::default();
            let vectors: Vec<Vec<f32>> = (0..count).map(|_| vector(&mut random, 96)).collect();
            vectors.iter().for_each(|vector| index.push(Some(vector)));
            for place in (0..count).step_by(count / 20) {
                let question = near(&vectors[place], 0.2, &mut random);
                assert_eq!(index.nearest(&question, 0.92, |_| true), Some(place), "{count}");
                assert_eq!(index.nearest(&question, 0.92, |other| other != place), None);
                assert_eq!(index.nearest(&vector(&mut random, 96), 0.92, |_| true), None);
            }
        }
    }

    #[test]
    fn places_stay_with_their_vectors_when_others_go() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut index = Index::default();
        index.push(None);
        let mut kept: Vec<Option<Vec<f32>>> = vec![None];
        for number in 0..200 {
            let vector = (number % 3 != 0).then(|| vector(&mut random, 20));
            index.push(vector.as_deref());
            kept.push(vector);
        }
        while !kept.is_empty() {
            let place = random.usize(..kept.len());
            kept.swap_remove(place);
            index.swap_remove(place);
            for (place, vector) in kept.iter().enumerate() {
                if let Some(vector) = vector {
                    assert_eq!(index.nearest(vector, 0.999, |_| true), Some(place));
                }
            }
        }
    }

    #[test]
    fn what_is_no_vector_is_never_near() {
        let mut index = Index::default();
        index.push(Some(&[1.0, 0.0]));
        index.push(Some(&[0.0, 0.0]));
        index.push(Some(&[f32::NAN, 1.0]));
        index.push(Some(&[1.0, 0.0, 0.0]));
        assert_eq!(index.nearest(&[2.0, 0.0], 0.92, |_| true), Some(0));
        for vector in [&[0.0, 0.0][..], &[f32::INFINITY, 0.0], &[1.0], &[]] {
            assert_eq!(index.nearest(vector, -1.0, |_| true), None);
        }
        assert_eq!(Index::default().nearest(&[], -1.0, |_| true), None);
    }
}
