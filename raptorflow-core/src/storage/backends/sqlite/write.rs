//! `Tables`: the tables inside the writer's transaction, and what a put and a delete do there.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Params, Row};

use super::{
    checksum::of_entry,
    fault::OrFault as _,
    known::{Known, Tenant},
    seal,
};
use crate::{
    error::{Error, ErrorKind, Result},
    storage::{Expect, check_version},
    types::TenantId,
};

/// How far a stream's id is shifted in the id of a record; the rest is the sequence.
pub(super) const SEQUENCE_BITS: u32 = 32;
/// The largest value; SQLite takes no row beyond a thousand million bytes.
const MAX_VALUE: usize = 999_000_000;

/// The tables, open for writing.
///
/// A job checks all of its conditions before it writes: an error after a write ends the whole transaction.
pub(super) struct Tables<'a> {
    pub(super) conn: &'a Connection,
    pub(super) known: &'a mut Known,
    /// Whether something was written.
    pub(super) wrote: bool,
}

impl<'a> Tables<'a> {
    pub(super) fn new(conn: &'a Connection, known: &'a mut Known) -> Self {
        Self { conn, known, wrote: false }
    }

    #[cfg(test)]
    pub(super) fn connection(&self) -> &Connection {
        self.conn
    }

    pub(super) fn put(&mut self, tenant: &TenantId, key: &str, value: &Bytes, expect: Expect) -> Result<u64> {
        const OPERATION: &str = "storage.put";
        check_size(OPERATION, ("key", key), value)?;
        let found = self.entry(OPERATION, tenant, key)?;
        check_version(OPERATION, key, expect, found.map(|(version, _)| unsigned(version)))?;
        let known = self.tenant_or_new(OPERATION, tenant)?;
        let (id, floor) = (known.id, found.map_or(known.version_floor, |(version, _)| version));
        let version = floor + 1;
        let sum = of_entry(tenant.as_str(), key, unsigned(version), value);
        self.execute(
            OPERATION,
            "INSERT INTO entries (tenant, key, version, checksum, value) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET version = ?3, checksum = ?4, value = ?5",
            (id, key, version, sum, value.as_ref()),
        )?;
        let old = found.map(|(version, sum)| seal::of_entry(id, key, version, sum));
        self.reseal(old, Some(seal::of_entry(id, key, version, i64::from(sum))));
        Ok(unsigned(version))
    }

    pub(super) fn delete(&mut self, tenant: &TenantId, key: &str, expect: Expect) -> Result<bool> {
        const OPERATION: &str = "storage.delete";
        let found = self.entry(OPERATION, tenant, key)?;
        check_version(OPERATION, key, expect, found.map(|(version, _)| unsigned(version)))?;
        let Some((version, sum)) = found else { return Ok(false) };
        let id = self.tenant_or_new(OPERATION, tenant)?.id;
        self.execute(OPERATION, "DELETE FROM entries WHERE tenant = ?1 AND key = ?2", (id, key))?;
        self.reseal(Some(seal::of_entry(id, key, version, sum)), None);
        self.raise_floors(OPERATION, tenant, (version, 0))?;
        Ok(true)
    }

    /// The version and the checksum of a key.
    fn entry(&mut self, operation: &'static str, tenant: &TenantId, key: &str) -> Result<Option<(i64, i64)>> {
        let Some(tenant) = self.tenant(operation, tenant)? else { return Ok(None) };
        let id = tenant.id;
        let sql = "SELECT version, checksum FROM entries WHERE tenant = ?1 AND key = ?2";
        self.row(operation, sql, (id, key), |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// Lets later versions and tokens of a tenant start above these.
    pub(super) fn raise_floors(
        &mut self,
        operation: &'static str,
        tenant: &TenantId,
        (version, token): (i64, i64),
    ) -> Result<()> {
        let name = tenant.as_str();
        let known = self.tenant_or_new(operation, tenant)?;
        let (id, old) = (known.id, (known.version_floor, known.token_floor));
        let new = (old.0.max(version), old.1.max(token));
        if new == old {
            return Ok(());
        }
        (known.version_floor, known.token_floor) = new;
        let sql = "UPDATE tenants SET version_floor = ?2, token_floor = ?3 WHERE id = ?1";
        self.execute(operation, sql, (id, new.0, new.1))?;
        self.reseal(
            Some(seal::of_tenant(id, name, old.0, old.1)),
            Some(seal::of_tenant(id, name, new.0, new.1)),
        );
        Ok(())
    }

    /// What is known of a tenant; `None` of one that never wrote.
    pub(super) fn tenant(
        &mut self,
        operation: &'static str,
        tenant: &TenantId,
    ) -> Result<Option<&mut Tenant>> {
        if !self.known.tenants.contains_key(tenant) {
            let sql = "SELECT id, version_floor, token_floor FROM tenants WHERE name = ?1";
            let row = |row: &Row<'_>| Ok(Tenant::new(row.get(0)?, row.get(1)?, row.get(2)?));
            let Some(found) = self.row(operation, sql, (tenant.as_str(),), row)? else { return Ok(None) };
            self.known.tenants.insert(tenant.clone(), found);
        }
        Ok(self.known.tenants.get_mut(tenant))
    }

    /// What is known of a tenant, made at its first write.
    pub(super) fn tenant_or_new(
        &mut self,
        operation: &'static str,
        tenant: &TenantId,
    ) -> Result<&mut Tenant> {
        if self.tenant(operation, tenant)?.is_none() {
            let name = tenant.as_str();
            self.execute(operation, "INSERT INTO tenants (name) VALUES (?1)", (name,))?;
            let id = self.conn.last_insert_rowid();
            self.reseal(None, Some(seal::of_tenant(id, name, 0, 0)));
            self.known.tenants.insert(tenant.clone(), Tenant::new(id, 0, 0));
        }
        let known = self.known.tenants.get_mut(tenant);
        known.ok_or_else(|| Error::new(ErrorKind::Internal, operation, "a tenant was forgotten"))
    }

    /// Takes note of a row that changed: its hash before and after.
    pub(super) fn reseal(&mut self, old: Option<u64>, new: Option<u64>) {
        old.into_iter().for_each(|hash| self.known.seal.remove(hash));
        new.into_iter().for_each(|hash| self.known.seal.add(hash));
        self.known.unsealed = true;
    }

    pub(super) fn row<T>(
        &self,
        operation: &'static str,
        sql: &'static str,
        params: impl Params,
        row: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        let mut select = self.conn.prepare_cached(sql).or_fault(operation)?;
        select.query_row(params, row).optional().or_fault(operation)
    }

    /// Adds the hash of each row that a statement gives to a sum that is then taken off the seal.
    pub(super) fn unseal_rows(
        &mut self,
        operation: &'static str,
        sql: &'static str,
        params: impl Params,
        hash: impl Fn(&Row<'_>) -> rusqlite::Result<u64>,
    ) -> Result<()> {
        let mut select = self.conn.prepare_cached(sql).or_fault(operation)?;
        let mut rows = select.query(params).or_fault(operation)?;
        let mut sum = 0_u64;
        while let Some(row) = rows.next().or_fault(operation)? {
            sum = sum.wrapping_add(hash(row).or_fault(operation)?);
        }
        self.reseal(Some(sum), None);
        Ok(())
    }

    pub(super) fn execute(
        &mut self,
        operation: &'static str,
        sql: &'static str,
        params: impl Params,
    ) -> Result<usize> {
        self.wrote = true;
        self.conn.prepare_cached(sql).and_then(|mut statement| statement.execute(params)).or_fault(operation)
    }
}

/// Refuses what SQLite could not hold, before anything is written.
pub(super) fn check_size(operation: &'static str, place: (&'static str, &str), value: &[u8]) -> Result<()> {
    if value.len() <= MAX_VALUE {
        return Ok(());
    }
    Err(Error::new(ErrorKind::LimitExceeded, operation, "the value is larger than SQLite can hold; split it")
        .with(place.0, place.1)
        .with("bytes", value.len()))
}

/// A stored number; ours are never negative.
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A number to store or to compare with stored ones; what is beyond the range equals none of them.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
