//! What the benchmarks share: a Tokio runtime with a context, and values of a given size.
#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to say")]

use std::future::Future;

use futures_util::FutureExt as _;
use raptorflow_core::runtime::{Context, Runtime};

/// A Tokio runtime on this thread and a context in it.
#[derive(Debug)]
pub struct Bench {
    /// Runs what waits.
    pub tokio: tokio::runtime::Runtime,
    /// The context of every call.
    pub ctx: Context,
}

impl Bench {
    /// Makes both.
    ///
    /// # Panics
    /// When the system gives no runtime.
    #[must_use]
    pub fn new() -> Self {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let tokio = tokio.expect("a Tokio runtime");
        let ctx = Context::new(&tokio.block_on(async { Runtime::current() }).expect("inside of Tokio"));
        Self { tokio, ctx }
    }

    /// Runs work that may wait.
    pub fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.tokio.block_on(work)
    }

    /// Runs work that never waits, without the cost of a Tokio runtime around it.
    ///
    /// # Panics
    /// When it waits all the same.
    pub fn now<T>(&self, work: impl Future<Output = T>) -> T {
        let _inside = self.tokio.enter();
        work.now_or_never().expect("work that does not wait")
    }
}

impl Default for Bench {
    fn default() -> Self {
        Self::new()
    }
}

/// A value of so many bytes.
#[must_use]
pub fn bytes(length: usize) -> Vec<u8> {
    (0..=u8::MAX).cycle().take(length).collect()
}
