//! The upkeep of what is stored: runs that go by policy, and tenants and stores as files.

use napi::{Env, bindgen_prelude::PromiseRaw};
use napi_derive::napi;
use raptorflow_core::{journal::Retention, types::TenantId};
use serde::{Deserialize, Serialize};

use crate::{
    convert::{data, duration, promise, written},
    engine::NativeEngine,
};

#[napi]
impl NativeEngine {
    /// Removes ended runs by a policy, which is JSON.
    #[napi]
    pub fn prune<'e>(&self, env: &'e Env, policy: String) -> napi::Result<PromiseRaw<'e, String>> {
        let engine = self.engine.clone();
        promise(env, async move {
            let Policy { max_age, keep_last, failed } = data("policy", &policy)?;
            let max_age = max_age.map(|span| duration("maxAge", span)).transpose()?;
            let retention = Retention { max_age, keep_last, failed, ..Retention::default() };
            let pruned = engine.prune(&retention).await?;
            written(&Pruned { removed: pruned.removed, kept: pruned.kept, unreadable: pruned.unreadable })
        })
    }

    /// Removes a run.
    #[napi]
    pub fn remove<'e>(&self, env: &'e Env, run: String) -> napi::Result<PromiseRaw<'e, ()>> {
        let engine = self.engine.clone();
        promise(env, async move { engine.remove(run.parse()?).await })
    }

    /// Forgets everything of a tenant.
    #[napi]
    pub fn erase_tenant<'e>(&self, env: &'e Env, tenant: String) -> napi::Result<PromiseRaw<'e, String>> {
        let engine = self.engine.clone();
        promise(env, async move {
            let erased = engine.erase_tenant(&TenantId::new(tenant)?).await?;
            written(&Erased { keys: erased.keys, streams: erased.streams, leases: erased.leases })
        })
    }

    /// Writes everything of a tenant to a file.
    #[napi]
    pub fn export_tenant<'e>(
        &self,
        env: &'e Env,
        tenant: String,
        path: String,
    ) -> napi::Result<PromiseRaw<'e, String>> {
        let engine = self.engine.clone();
        promise(env, async move { written(&engine.export_tenant(&TenantId::new(tenant)?, path).await?) })
    }

    /// Reads an export into a tenant that is empty.
    #[napi]
    pub fn import_tenant<'e>(
        &self,
        env: &'e Env,
        tenant: String,
        path: String,
    ) -> napi::Result<PromiseRaw<'e, String>> {
        let engine = self.engine.clone();
        promise(env, async move { written(&engine.import_tenant(&TenantId::new(tenant)?, path).await?) })
    }

    /// Writes every tenant to a file.
    #[napi]
    pub fn snapshot<'e>(&self, env: &'e Env, path: String) -> napi::Result<PromiseRaw<'e, String>> {
        let engine = self.engine.clone();
        promise(env, async move { written(&engine.snapshot(path).await?) })
    }

    /// Reads a snapshot into a store without tenants.
    #[napi]
    pub fn restore<'e>(&self, env: &'e Env, path: String) -> napi::Result<PromiseRaw<'e, String>> {
        let engine = self.engine.clone();
        promise(env, async move { written(&engine.restore(path).await?) })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Policy {
    /// Milliseconds.
    max_age: Option<f64>,
    keep_last: Option<usize>,
    #[serde(default)]
    failed: bool,
}

#[derive(Serialize)]
struct Pruned {
    removed: u64,
    kept: u64,
    unreadable: u64,
}

#[derive(Serialize)]
struct Erased {
    keys: u64,
    streams: u64,
    leases: u64,
}
