//! What leases do inside the writer's transaction.

use super::{
    seal,
    write::{Tables, signed, unsigned},
};
use crate::{
    error::Result,
    storage::{Fence, check_fence},
    types::{TenantId, Timestamp},
};

/// A row of `leases`.
struct Held {
    token: i64,
    owner: String,
    expires: i64,
}

impl Held {
    fn hash(&self, tenant: i64, name: &str) -> u64 {
        seal::of_lease(tenant, name, self.token, &self.owner, self.expires)
    }
}

impl Tables<'_> {
    pub(super) fn acquire(
        &mut self,
        tenant: &TenantId,
        name: &str,
        owner: &str,
        now: Timestamp,
        expires: Timestamp,
    ) -> Result<Option<u64>> {
        const OPERATION: &str = "storage.acquire";
        let held = self.held(OPERATION, tenant, name)?;
        if held.as_ref().is_some_and(|held| held.expires > now.as_micros() && held.owner != owner) {
            return Ok(None);
        }
        let known = self.tenant_or_new(OPERATION, tenant)?;
        let (id, token) = (known.id, held.as_ref().map_or(known.token_floor, |held| held.token) + 1);
        known.remember_token(name, Some(unsigned(token)));
        let new = Held { token, owner: owner.to_owned(), expires: expires.as_micros() };
        self.execute(
            OPERATION,
            "INSERT INTO leases (tenant, name, token, owner, expires) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET token = ?3, owner = ?4, expires = ?5",
            (id, name, token, owner, new.expires),
        )?;
        self.reseal(held.map(|held| held.hash(id, name)), Some(new.hash(id, name)));
        Ok(Some(unsigned(token)))
    }

    pub(super) fn renew(&mut self, tenant: &TenantId, fence: &Fence, expires: Timestamp) -> Result<()> {
        const OPERATION: &str = "storage.renew";
        let name = &*fence.lease;
        let held = self.held(OPERATION, tenant, name)?;
        check_fence(OPERATION, fence, held.as_ref().map(|held| unsigned(held.token)))?;
        let Some(held) = held else { return Ok(()) };
        let id = self.tenant_or_new(OPERATION, tenant)?.id;
        let new = Held { expires: expires.as_micros(), owner: held.owner.clone(), ..held };
        let sql = "UPDATE leases SET expires = ?3 WHERE tenant = ?1 AND name = ?2";
        self.execute(OPERATION, sql, (id, name, new.expires))?;
        self.reseal(Some(held.hash(id, name)), Some(new.hash(id, name)));
        Ok(())
    }

    pub(super) fn release(&mut self, tenant: &TenantId, fence: &Fence) -> Result<()> {
        const OPERATION: &str = "storage.release";
        let name = &*fence.lease;
        let Some(held) = self.held(OPERATION, tenant, name)? else { return Ok(()) };
        if held.token != signed(fence.token) {
            return Ok(());
        }
        let known = self.tenant_or_new(OPERATION, tenant)?;
        known.remember_token(name, None);
        let id = known.id;
        self.execute(OPERATION, "DELETE FROM leases WHERE tenant = ?1 AND name = ?2", (id, name))?;
        self.reseal(Some(held.hash(id, name)), None);
        self.raise_floors(OPERATION, tenant, (0, held.token))
    }

    /// The token of the newest grant of a lease.
    pub(super) fn token(
        &mut self,
        operation: &'static str,
        tenant: &TenantId,
        lease: &str,
    ) -> Result<Option<u64>> {
        let Some(known) = self.tenant(operation, tenant)? else { return Ok(None) };
        if let Some(token) = known.tokens.get(lease) {
            return Ok(*token);
        }
        let token = self.held(operation, tenant, lease)?.map(|held| unsigned(held.token));
        if let Some(known) = self.tenant(operation, tenant)? {
            known.remember_token(lease, token);
        }
        Ok(token)
    }

    fn held(&mut self, operation: &'static str, tenant: &TenantId, name: &str) -> Result<Option<Held>> {
        let Some(known) = self.tenant(operation, tenant)? else { return Ok(None) };
        let id = known.id;
        let sql = "SELECT token, owner, expires FROM leases WHERE tenant = ?1 AND name = ?2";
        self.row(operation, sql, (id, name), |row| {
            Ok(Held { token: row.get(0)?, owner: row.get(1)?, expires: row.get(2)? })
        })
    }
}
