//! Tests of skills through their public names.

mod compiling;
mod reloading;
mod rendering;
mod types;
