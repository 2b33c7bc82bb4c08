//! The arithmetic of the encoder on the widest vectors of this processor; the only `unsafe` of the embedder.
//!
//! A [`Level`] is found at run time and cannot be made otherwise, which is what makes the calls of functions with
//! AVX-512 or AVX2 sound.
//! What tiles read lies within slices, whatever their lengths.

mod level;
mod product;
mod tile;

pub(crate) use level::Level;
pub(crate) use product::{
    Rows, Scales, Target, add_and_norm, gelu, multiply, multiply_fours, multiply_pairs, quantize,
    quantize_wide, softmax,
};
