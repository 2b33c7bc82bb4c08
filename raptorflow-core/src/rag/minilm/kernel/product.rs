//! Products of matrices and what is done number by number, with the instructions of a level; `unsafe` is the calls.
#![expect(unsafe_code, reason = "calls of functions for instructions that were found")]

use std::array;

#[cfg(target_arch = "x86_64")]
use crate::rag::minilm::kernel::tile::{Avx2, Avx2Pairs, Avx512, Vnni};
use crate::rag::minilm::{
    kernel::{
        level::{Level, Width},
        tile::{Plain, PlainPairs, Tile},
    },
    lane::{Norm, PLAIN_FUSED, gelu_body, norm_body, quantize_body, softmax_body},
};

/// Some rows of a matrix that lies in memory row by row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows<'a, T> {
    /// From the first number of the first row on.
    pub(crate) values: &'a [T],
    /// From one row to the next.
    pub(crate) stride: usize,
    /// How many rows.
    pub(crate) count: usize,
    /// How many numbers of each row.
    pub(crate) len: usize,
}

impl<'a, T> Rows<'a, T> {
    fn row(&self, at: usize) -> &'a [T] {
        let values = self.values.get(at * self.stride..).unwrap_or_default();
        values.get(..self.len).unwrap_or(values)
    }
}

/// Multiplies rows with panels; `store` gets the number of the row and of the panel, and their sums.
#[inline(always)]
fn product<const W: usize, T: Tile<W>>(
    rows: &Rows<'_, T::Left>,
    panels: &[T::Right],
    panel: usize,
    mut store: impl FnMut(usize, usize, &[T::Sum; W]),
) {
    // Tiles of nearly equal height: 13 rows are 7 and 6, since one row alone would wait for memory.
    let tiles = rows.count.div_ceil(T::ROWS).max(1);
    let (each, taller) = (rows.count / tiles, rows.count % tiles);
    for (at, panel) in panels.chunks_exact(panel.max(1)).enumerate() {
        let mut first = 0;
        for tile in 0..tiles {
            let height = each + usize::from(tile < taller);
            macro_rules! heights {
                ($($n:literal)*) => {
                    match height {
                        $($n => {
                            let of: [&[T::Left]; $n] = array::from_fn(|row| rows.row(first + row));
                            for (row, sums) in T::tile::<$n>(&of, panel).iter().enumerate() {
                                store(first + row, at, sums);
                            }
                        })*
                        _ => {}
                    }
                };
            }
            heights!(1 2 3 4 5 6 7 8 9 10 11 12);
            first += height;
        }
    }
}

/// Where a product goes: rows of a matrix, from a column on.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    /// From the first number of the first row on.
    pub(crate) values: &'a mut [f32],
    /// From one row to the next.
    pub(crate) stride: usize,
    /// How many columns of the product are kept.
    pub(crate) columns: usize,
}

impl Target<'_> {
    /// The part of a row that a panel of `width` columns fills.
    #[inline(always)]
    fn part(&mut self, row: usize, panel: usize, width: usize) -> &mut [f32] {
        let column = panel * width;
        let from = row * self.stride + column;
        let to = from + width.min(self.columns.saturating_sub(column));
        self.values.get_mut(from..to).unwrap_or_default()
    }
}

#[inline(always)]
fn floats<const W: usize, T: Tile<W, Left = f32, Right = f32, Sum = f32>>(
    rows: &Rows<'_, f32>,
    panels: &[f32],
    bias: &[f32],
    target: &mut Target<'_>,
) {
    product::<W, T>(rows, panels, rows.len * W, |row, panel, sums| {
        let out = target.part(row, panel, W);
        match bias.get(panel * W..(panel + 1) * W) {
            Some(bias) => out.iter_mut().zip(sums).zip(bias).for_each(|((out, sum), bias)| *out = sum + bias),
            None => out.iter_mut().zip(sums).for_each(|(out, sum)| *out = *sum),
        }
    });
}

/// What makes numbers of the sums of bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scales<'a> {
    /// Of each row: what one step is worth, and which step is zero.
    pub(crate) rows: &'a [(f32, f32)],
    /// Of each column: what one step is worth, the sum of its steps, and what is added.
    pub(crate) columns: &'a [(f32, f32, f32)],
}

#[inline(always)]
fn bytes<const W: usize, T: Tile<W, Right = i8, Sum = i32>>(
    rows: &Rows<'_, T::Left>,
    panels: &[i8],
    scales: Scales<'_>,
    target: &mut Target<'_>,
) {
    product::<W, T>(rows, panels, rows.len * W, |row, panel, sums| {
        let Some((step, zero)) = scales.rows.get(row).copied() else { return };
        let columns = scales.columns.get(panel * W..).unwrap_or_default();
        let out = target.part(row, panel, W);
        for ((out, sum), (scale, total, bias)) in out.iter_mut().zip(sums).zip(columns) {
            *out = step * scale * (*sum as f32 - zero * total) + bias;
        }
    });
}

/// Makes a function that runs a generic body with the instructions of a level.
macro_rules! leveled {
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $ty:ty),*) by $which:ident, $avx512:expr, $avx2:expr, $plain:expr) => {
        $(#[$doc])*
        pub(crate) fn $name(level: Level, $($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
            fn avx512($($arg: $ty),*) {
                $avx512($($arg),*);
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $ty),*) {
                $avx2($($arg),*);
            }
            match level.$which {
                // SAFETY: a level has a width only where `Level::supported` found all of its instructions.
                #[cfg(target_arch = "x86_64")]
                Width::Avx512 => unsafe { avx512($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Width::Avx2 => unsafe { avx2($($arg),*) },
                Width::Plain => $plain($($arg),*),
            }
        }
    };
}
leveled! {
    /// Multiplies rows with panels of floats and adds `bias`, which is empty or has a number for each column of the
    /// panels.
    fn multiply(rows: &Rows<'_, f32>, panels: &[f32], bias: &[f32], target: &mut Target<'_>)
    by floats, floats::<32, Avx512>, floats::<16, Avx2>, floats::<16, Plain>
}

leveled! {
    /// Multiplies rows of bytes with panels of bytes, for levels with groups of 2.
    fn multiply_pairs(rows: &Rows<'_, i16>, panels: &[i8], scales: Scales<'_>, target: &mut Target<'_>)
    by bytes, no_pairs, bytes::<16, Avx2Pairs>, bytes::<16, PlainPairs>
}

leveled! {
    /// The exact gelu, x · Φ(x).
    fn gelu(values: &mut [f32])
    by floats, gelu_body::<true>, gelu_body::<true>, gelu_body::<PLAIN_FUSED>
}

leveled! {
    /// Makes each row of `width` numbers positive with sum 1.
    fn softmax(values: &mut [f32], width: usize)
    by floats, softmax_body::<true>, softmax_body::<true>, softmax_body::<PLAIN_FUSED>
}

leveled! {
    /// Adds `added` and gives each row mean 0 and variance 1 before scale and shift.
    fn add_and_norm(values: &mut [f32], added: &[f32], norm: &Norm)
    by floats, norm_body::<true>, norm_body::<true>, norm_body::<PLAIN_FUSED>
}

leveled! {
    /// Makes steps of 0 to 255 of each row of `width` numbers, in rows of `stride`; says what a step is worth and
    /// which is zero.
    fn quantize(values: &[f32], width: usize, out: &mut [u8], stride: usize, scales: &mut Vec<(f32, f32)>)
    by floats, quantize_body::<true, u8>, quantize_body::<true, u8>, quantize_body::<PLAIN_FUSED, u8>
}

leveled! {
    /// As [`quantize`], each step in 16 bits.
    fn quantize_wide(values: &[f32], width: usize, out: &mut [i16], stride: usize, scales: &mut Vec<(f32, f32)>)
    by floats, quantize_body::<true, i16>, quantize_body::<true, i16>, quantize_body::<PLAIN_FUSED, i16>
}

/// Multiplies rows of bytes with panels of bytes, for levels with groups of 4.
pub(crate) fn multiply_fours(
    level: Level,
    rows: &Rows<'_, u8>,
    panels: &[i8],
    scales: Scales<'_>,
    target: &mut Target<'_>,
) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
        fn vnni(rows: &Rows<'_, u8>, panels: &[i8], scales: Scales<'_>, target: &mut Target<'_>) {
            bytes::<32, Vnni>(rows, panels, scales, target);
        }
        if level.bytes == Width::Avx512 {
            // SAFETY: bytes have this width only where `Level::supported` found VNNI too.
            unsafe { vnni(rows, panels, scales, target) }
        }
    }
}

/// Levels of 512 bits have groups of 4.
#[cfg(target_arch = "x86_64")]
fn no_pairs(_: &Rows<'_, i16>, _: &[i8], _: Scales<'_>, _: &mut Target<'_>) {}
