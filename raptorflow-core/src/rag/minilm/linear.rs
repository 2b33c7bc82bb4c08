//! `Linear`: weights packed once for the products that use them, in floats or in bytes.

use crate::rag::minilm::kernel::{
    Level, Rows, Scales, Target, multiply, multiply_fours, multiply_pairs, quantize, quantize_wide,
};

/// Rows that are multiplied together: small enough to stay in the cache of a core while all columns pass by.
pub(super) const BLOCK: usize = 96;

/// Columns of floats, side by side in panels.
#[derive(Clone, Debug, Default)]
pub(super) struct Panels {
    values: Vec<f32>,
}

impl Panels {
    /// Packs `count` columns of `len` numbers; `at` gives the number of a column at a place.
    pub(super) fn pack(&mut self, level: Level, count: usize, len: usize, at: impl Fn(usize, usize) -> f32) {
        let width = level.columns();
        self.values.clear();
        for first in (0..count).step_by(width) {
            for place in 0..len {
                let columns = first..(first + width).min(count);
                let missing = width - columns.len();
                self.values.extend(columns.map(|column| at(column, place)));
                self.values.extend(std::iter::repeat_n(0.0, missing));
            }
        }
    }

    /// Multiplies rows with the columns.
    pub(super) fn multiply(&self, level: Level, rows: &Rows<'_, f32>, bias: &[f32], target: &mut Target<'_>) {
        multiply(level, rows, &self.values, bias, target);
    }
}

/// How weights are kept.
#[derive(Clone, Debug)]
enum Weights {
    Floats {
        panels: Panels,
        bias: Vec<f32>,
    },
    /// Of each column: what one step is worth, the sum of its steps, and what is added.
    Bytes {
        panels: Vec<i8>,
        columns: Vec<(f32, f32, f32)>,
    },
}

/// `x · Wᵀ + b`.
#[derive(Clone, Debug)]
pub(super) struct Linear {
    weights: Weights,
    inputs: usize,
    outputs: usize,
}

/// Room for the bytes of rows; kept between calls.
#[derive(Debug, Default)]
pub(super) struct Room {
    narrow: Vec<u8>,
    wide: Vec<i16>,
    scales: Vec<(f32, f32)>,
}

impl Linear {
    /// Packs weights that lie output by output.
    pub(super) fn floats(level: Level, weight: &[f32], bias: &[f32]) -> Self {
        let (outputs, inputs) = shape(weight, bias);
        let mut panels = Panels::default();
        panels.pack(level, outputs, inputs, |column, at| number(weight, column * inputs + at));
        let mut bias = bias.to_vec();
        bias.resize(outputs.next_multiple_of(level.columns()), 0.0);
        Self { weights: Weights::Floats { panels, bias }, inputs, outputs }
    }

    /// Packs weights that lie output by output as bytes, each output with a scale of its own.
    pub(super) fn bytes(level: Level, weight: &[f32], bias: &[f32]) -> Self {
        let (outputs, inputs) = shape(weight, bias);
        let (width, group) = (level.byte_columns(), level.byte_group());
        let mut columns: Vec<_> = weight
            .chunks_exact(inputs.max(1))
            .zip(bias)
            .map(|(row, bias)| {
                let highest = row.iter().fold(0.0_f32, |high, x| high.max(x.abs()));
                let scale = (highest / 127.0).max(f32::MIN_POSITIVE);
                (scale, row.iter().map(|x| (x / scale).round()).sum::<f32>(), *bias)
            })
            .collect();
        columns.resize(outputs.next_multiple_of(width), (0.0, 0.0, 0.0));
        let mut panels = Vec::with_capacity(columns.len() * inputs.next_multiple_of(4));
        for first in (0..outputs).step_by(width) {
            for place in (0..inputs.next_multiple_of(4)).step_by(group) {
                for column in first..first + width {
                    let scale = columns.get(column).map_or(1.0, |column| column.0);
                    panels.extend((place..place + group).map(|at| {
                        let inside = column < outputs && at < inputs;
                        let x = if inside { number(weight, column * inputs + at) } else { 0.0 };
                        (x / scale).round() as i8
                    }));
                }
            }
        }
        Self { weights: Weights::Bytes { panels, columns }, inputs, outputs }
    }

    /// How many numbers a row of its output has.
    pub(super) fn outputs(&self) -> usize {
        self.outputs
    }

    /// Multiplies whole rows; `out` gets as many.
    pub(super) fn run(&self, level: Level, rows: &[f32], out: &mut [f32], room: &mut Room) {
        let outs = out.chunks_mut((BLOCK * self.outputs).max(1));
        for (rows, out) in rows.chunks((BLOCK * self.inputs).max(1)).zip(outs) {
            self.run_block(level, rows, out, room);
        }
    }

    fn run_block(&self, level: Level, rows: &[f32], out: &mut [f32], room: &mut Room) {
        let count = rows.len() / self.inputs.max(1);
        let mut target = Target { values: out, stride: self.outputs, columns: self.outputs };
        let (panels, columns) = match &self.weights {
            Weights::Floats { panels, bias } => {
                let rows = Rows { values: rows, stride: self.inputs, count, len: self.inputs };
                return panels.multiply(level, &rows, bias, &mut target);
            }
            Weights::Bytes { panels, columns } => (panels, columns),
        };
        let stride = self.inputs.next_multiple_of(4);
        room.scales.clear();
        if level.byte_group() == 4 {
            room.narrow.resize(count * stride, 0);
            quantize(level, rows, self.inputs, &mut room.narrow, stride, &mut room.scales);
            let rows = Rows { values: &room.narrow, stride, count, len: stride };
            multiply_fours(level, &rows, panels, Scales { rows: &room.scales, columns }, &mut target);
        } else {
            room.wide.resize(count * stride, 0);
            quantize_wide(level, rows, self.inputs, &mut room.wide, stride, &mut room.scales);
            let rows = Rows { values: &room.wide, stride, count, len: stride };
            multiply_pairs(level, &rows, panels, Scales { rows: &room.scales, columns }, &mut target);
        }
    }
}

fn shape(weight: &[f32], bias: &[f32]) -> (usize, usize) {
    (bias.len(), weight.len() / bias.len().max(1))
}

fn number(values: &[f32], at: usize) -> f32 {
    values.get(at).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look random, from −1 to 1.
    fn noise(count: usize, seed: u64) -> Vec<f32> {
        let mut state = seed;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / 8_388_608.0 - 1.0
        };
        std::iter::repeat_with(next).take(count).collect()
    }

    #[test]
    fn products_of_all_levels_and_sizes_are_those_of_plain_sums() {
        for (rows, inputs, outputs) in [(1, 1, 1), (5, 7, 3), (13, 33, 31), (25, 64, 65), (12, 40, 96)] {
            let (x, weight, bias) = (noise(rows * inputs, 1), noise(inputs * outputs, 2), noise(outputs, 3));
            for level in Level::supported() {
                for (linear, allowed) in [
                    (Linear::floats(level, &weight, &bias), 1e-5),
                    (Linear::bytes(level, &weight, &bias), 0.2),
                ] {
                    let mut out = vec![f32::NAN; rows * outputs];
                    linear.run(level, &x, &mut out, &mut Room::default());
                    for (row, out) in x.chunks(inputs).zip(out.chunks(outputs)) {
                        for ((column, bias), out) in weight.chunks(inputs).zip(&bias).zip(out) {
                            let exact: f32 = row.iter().zip(column).map(|(x, y)| x * y).sum::<f32>() + bias;
                            assert!((exact - out).abs() <= allowed, "{level:?} {rows} {inputs} {outputs}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn bytes_are_the_same_on_all_levels() {
        let (x, weight, bias) = (noise(9 * 50, 4), noise(50 * 35, 5), noise(35, 6));
        let run = |level| {
            let mut out = vec![0.0; 9 * 35];
            Linear::bytes(level, &weight, &bias).run(level, &x, &mut out, &mut Room::default());
            out
        };
        let plain = run(*Level::supported().last().unwrap());
        for level in Level::supported() {
            for (x, y) in run(level).iter().zip(&plain) {
                assert!((x - y).abs() < 1e-5, "{level:?}");
            }
        }
    }
}
