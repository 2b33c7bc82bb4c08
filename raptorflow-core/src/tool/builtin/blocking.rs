//! `blocking`: work that holds up its thread, on a thread of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{
    error::{Error, ErrorKind, Result},
    runtime::Context,
};

/// Runs work apart from the threads that others share, within the context's time; its panic is an error of the tool.
///
/// # Cancellation
/// The work itself runs on to its end, and nobody hears of it.
pub(super) async fn blocking<T: Send + 'static>(
    ctx: &Context,
    operation: &'static str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    // What the work shared and left half-changed is dropped with it.
    let guarded = move || {
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Callback, operation, "the library behind the tool panicked"))
        })
    };
    ctx.bound(operation, ctx.runtime().tasks().spawn_blocking(guarded)).await??
}
