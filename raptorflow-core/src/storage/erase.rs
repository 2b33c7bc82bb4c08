//! Erasing a tenant through the handle, also where keys and streams are kept apart.

use crate::{
    error::Result,
    runtime::Context,
    storage::{Erased, Expect, Scan, Storage},
};

/// How many keys are looked for at once.
const PAGE: usize = 256;

impl Storage {
    /// Forgets every key, stream and lease of the context's tenant and says how many; see
    /// [`crate::storage::Log::erase`].
    ///
    /// A run of the tenant that is at work has no lease any more, so its next append is `Conflict`, and it stops.
    /// What is written to the tenant afterward stays, so stop whoever begins new work first.
    /// Called again it erases what came since, so a call that failed is repeated.
    ///
    /// # Errors
    /// `Unavailable` when the store cannot be reached, or when the bytes cannot be taken out of the file now; the
    /// context of the error says so.
    ///
    /// # Cancellation
    /// The store forgets all at once or nothing.
    ///
    /// # Examples
    /// ```
    /// use raptorflow_core::{runtime::{Context, Runtime}, storage::{Expect, Storage}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> raptorflow_core::Result<()> {
    /// let (storage, ctx) = (Storage::memory(), Context::new(&Runtime::current()?));
    /// storage.put(&ctx, "plan", "draft", Expect::Absent).await?;
    /// assert_eq!(storage.erase(&ctx).await?.keys, 1);
    /// assert!(storage.tenants(&ctx, None, 10).await?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn erase(&self, ctx: &Context) -> Result<Erased> {
        let mut erased = self.log().erase(ctx).await?;
        // None is left where one store has both.
        loop {
            let keys = self.scan(ctx, Scan { prefix: "", after: None, limit: PAGE }).await?;
            if keys.is_empty() {
                return Ok(erased);
            }
            for (key, _) in keys {
                erased.keys += u64::from(self.delete(ctx, &key, Expect::Any).await?);
            }
        }
    }
}
