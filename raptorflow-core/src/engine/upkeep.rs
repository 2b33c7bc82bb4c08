//! The upkeep of what is stored: runs that go by policy, tenants that move or are erased, and copies of all.

use std::path::PathBuf;

use crate::{
    engine::Engine,
    error::Result,
    journal::{Pruned, Retention},
    runtime::Context,
    storage::{Archive, Erased},
    types::{RunId, TenantId},
};

impl Engine {
    /// Removes ended runs of the engine's tenant by a policy, all pages of them; see
    /// [`crate::journal::Journals::prune`].
    ///
    /// # Errors
    /// `InvalidInput` when the policy has no condition, and what the storage says.
    ///
    /// # Cancellation
    /// A dropped future has removed some of the runs, each as a whole; called again it goes on.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use raptorflow_core::{Engine, agent::{AgentSpec, FunctionAgent}, journal::Retention};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> raptorflow_core::Result<()> {
    /// let engine = Engine::builder().build().await?;
    /// engine.register(FunctionAgent::new(AgentSpec::new("shout")?, |_ctx, input| async move {
    ///     Ok(input.question().to_uppercase().into())
    /// }))?;
    /// for word in ["one", "two", "three"] {
    ///     engine.run("shout", word).await?;
    /// }
    /// let pruned = engine.prune(&Retention { keep_last: Some(1), ..Retention::default() }).await?;
    /// assert_eq!((pruned.removed, pruned.kept), (2, 1));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn prune(&self, retention: &Retention) -> Result<Pruned> {
        let ctx = self.upkeep(None);
        let mut policy = retention.clone();
        let mut total = Pruned::default();
        loop {
            let pruned = self.journals().prune(&ctx, &policy).await?;
            total.removed += pruned.removed;
            total.kept += pruned.kept;
            total.unreadable += pruned.unreadable;
            if pruned.next.is_none() {
                return Ok(total);
            }
            policy.after = pruned.next;
        }
    }

    /// Removes a run of the engine's tenant, however far it is; see [`crate::journal::Journals::remove`].
    ///
    /// # Errors
    /// `NotFound` for an unknown run, `Conflict` while a process works on it.
    ///
    /// # Cancellation
    /// A dropped future has removed the run or not.
    pub async fn remove(&self, run: RunId) -> Result<()> {
        self.journals().remove(&self.upkeep(None), run).await
    }

    /// Forgets everything of a tenant and says how much that was; see [`crate::storage::Storage::erase`].
    ///
    /// Runs of the tenant that are at work stop at their next entry, with `Conflict`, and record nothing.
    /// Knowledge bases that are open keep what they have in memory until they are dropped.
    ///
    /// # Errors
    /// What the storage says.
    ///
    /// # Cancellation
    /// A dropped future has erased all or nothing.
    pub async fn erase_tenant(&self, tenant: &TenantId) -> Result<Erased> {
        self.storage().erase(&self.upkeep(Some(tenant))).await
    }

    /// Writes everything of a tenant to a file; see [`crate::storage::Storage::export`].
    ///
    /// # Errors
    /// As [`crate::storage::Storage::export`].
    ///
    /// # Cancellation
    /// A dropped future leaves the file that was there before.
    pub async fn export_tenant(&self, tenant: &TenantId, path: impl Into<PathBuf> + Send) -> Result<Archive> {
        self.storage().export(&self.upkeep(Some(tenant)), path).await
    }

    /// Reads what [`Engine::export_tenant`] wrote into a tenant that is empty; see [`crate::storage::Storage::import`].
    ///
    /// # Errors
    /// As [`crate::storage::Storage::import`].
    ///
    /// # Cancellation
    /// A dropped future leaves the tenant imported in part, and marked as such.
    pub async fn import_tenant(&self, tenant: &TenantId, path: impl Into<PathBuf> + Send) -> Result<Archive> {
        self.storage().import(&self.upkeep(Some(tenant)), path).await
    }

    /// Writes every tenant of the store to a file; see [`crate::storage::Storage::snapshot`].
    ///
    /// # Errors
    /// As [`crate::storage::Storage::snapshot`].
    ///
    /// # Cancellation
    /// A dropped future leaves the file that was there before.
    pub async fn snapshot(&self, path: impl Into<PathBuf> + Send) -> Result<Archive> {
        self.storage().snapshot(&self.upkeep(None), path).await
    }

    /// Reads what [`Engine::snapshot`] wrote into a store without tenants; see [`crate::storage::Storage::restore`].
    ///
    /// # Errors
    /// As [`crate::storage::Storage::restore`].
    ///
    /// # Cancellation
    /// A dropped future leaves tenants imported in part, and marked as such.
    pub async fn restore(&self, path: impl Into<PathBuf> + Send) -> Result<Archive> {
        self.storage().restore(&self.upkeep(None), path).await
    }

    fn upkeep(&self, tenant: Option<&TenantId>) -> Context {
        self.context(self.runtime().ids().run(), tenant)
    }
}
