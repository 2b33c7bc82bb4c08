//! Sentence encoders of the BERT family, run here from a folder of weights: MiniLM and its relatives.
//!
//! `weights` reads the folder, `wordpiece` cuts texts into tokens, `encoder` makes vectors of them with the packed
//! weights of `linear`, and `kernel` and `lane` are the arithmetic.
//! Nothing is downloaded, and no other library does the work.

mod embedder;
mod encoder;
mod kernel;
mod lane;
mod linear;
#[cfg(test)]
mod tests;
mod weights;
mod wordpiece;

pub(crate) use embedder::MiniLmFactory;
pub use embedder::{MiniLmConfig, MiniLmEmbedder, Precision};
