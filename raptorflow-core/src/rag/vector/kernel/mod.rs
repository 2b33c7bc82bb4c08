//! The arithmetic of vectors in SIMD chosen at run time, and the memory it works on.
//!
//! One of the two places of the library with unsafe code (`docs/adr/0021-unsafe-code-lives-in-the-kernel.md`):
//! intrinsics of the processor, views of memory as numbers, and files mapped into memory.
//! What it gives out is safe: slices decide every length, and a function of an instruction set is only reached
//! through a table that was made after the processor said that it has it.
//! Each kernel equals the plain one; tests compare them over all lengths and alignments.

mod column;
mod float;
mod line;
#[cfg(target_arch = "aarch64")]
mod neon;
mod plain;
mod table;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use column::{Column, Mapping, Plain};
pub(crate) use float::{dot, norm, push_unit, squared_distance};
pub(crate) use line::{Line, bytes, prefetch};
pub(crate) use table::{Kernels, kernels};
