//! What each write does inside the writer's transaction.

use std::collections::HashMap;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Params};

use super::{
    checksum::{OfRecord, of_entry},
    fault::OrFault as _,
};
use crate::{
    error::{Error, ErrorKind, Result},
    storage::{Expect, Fence, check_fence, check_length, check_version},
    types::{TenantId, Timestamp},
};

/// How far a stream's id is shifted in the id of a record; the rest is the sequence.
pub(super) const SEQUENCE_BITS: u32 = 32;

/// The tables, open for writing.
pub(super) struct Tables<'a> {
    conn: &'a Connection,
    /// Ids of tenants that were committed or are about to be; the writer empties it when a job fails.
    tenants: &'a mut HashMap<TenantId, i64>,
}

impl<'a> Tables<'a> {
    pub(super) fn new(conn: &'a Connection, tenants: &'a mut HashMap<TenantId, i64>) -> Self {
        Self { conn, tenants }
    }

    pub(super) fn connection(&self) -> &Connection {
        self.conn
    }

    pub(super) fn put(&mut self, tenant: &TenantId, key: &str, value: &Bytes, expect: Expect) -> Result<u64> {
        const OPERATION: &str = "storage.put";
        let id = self.tenant(OPERATION, tenant)?;
        let found =
            self.number(OPERATION, "SELECT version FROM entries WHERE tenant = ?1 AND key = ?2", (id, key))?;
        check_version(OPERATION, key, expect, found.map(unsigned))?;
        let floor = match found {
            Some(version) => version,
            None => self.floor(OPERATION, "SELECT version_floor FROM tenants WHERE id = ?1", id)?,
        };
        let version = floor + 1;
        let sum = of_entry(tenant.as_str(), key, unsigned(version), value);
        self.execute(
            OPERATION,
            "INSERT INTO entries (tenant, key, version, checksum, value) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET version = ?3, checksum = ?4, value = ?5",
            (id, key, version, sum, value.as_ref()),
        )?;
        Ok(unsigned(version))
    }

    pub(super) fn delete(&mut self, tenant: &TenantId, key: &str, expect: Expect) -> Result<bool> {
        const OPERATION: &str = "storage.delete";
        let id = self.tenant(OPERATION, tenant)?;
        let found =
            self.number(OPERATION, "SELECT version FROM entries WHERE tenant = ?1 AND key = ?2", (id, key))?;
        check_version(OPERATION, key, expect, found.map(unsigned))?;
        let Some(version) = found else { return Ok(false) };
        self.execute(OPERATION, "DELETE FROM entries WHERE tenant = ?1 AND key = ?2", (id, key))?;
        self.execute(
            OPERATION,
            "UPDATE tenants SET version_floor = max(version_floor, ?2) WHERE id = ?1",
            (id, version),
        )?;
        Ok(true)
    }

    pub(super) fn append(
        &mut self,
        tenant: &TenantId,
        stream: &str,
        expected: Option<u64>,
        fence: Option<&Fence>,
        records: &[Bytes],
    ) -> Result<u64> {
        const OPERATION: &str = "storage.append";
        let id = self.tenant(OPERATION, tenant)?;
        if let Some(fence) = fence {
            check_fence(OPERATION, fence, self.token(OPERATION, id, &fence.lease)?)?;
        }
        let found = self.stream(OPERATION, id, stream)?;
        let length = match found {
            Some(base) => self.length(OPERATION, base)?,
            None => 0,
        };
        check_length(OPERATION, stream, expected, length)?;
        if records.is_empty() {
            return Ok(length);
        }
        let end = length + records.len() as u64;
        if end >= 1 << SEQUENCE_BITS {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                OPERATION,
                "a stream holds at most 2^32 records",
            )
            .with("stream", stream));
        }
        let base = match found {
            Some(base) => base,
            None => self.new_stream(OPERATION, id, stream)?,
        };
        let sum = OfRecord::new(tenant.as_str(), stream);
        let sql = "INSERT INTO records (id, checksum, data) VALUES (?1, ?2, ?3)";
        let mut insert = self.conn.prepare_cached(sql).or_fault(OPERATION)?;
        for (sequence, record) in (length..).zip(records) {
            let id = base | signed(sequence);
            insert.execute((id, sum.of(sequence, record), record.as_ref())).or_fault(OPERATION)?;
        }
        Ok(end)
    }

    pub(super) fn remove(&mut self, tenant: &TenantId, stream: &str) -> Result<bool> {
        const OPERATION: &str = "storage.remove";
        let id = self.tenant(OPERATION, tenant)?;
        let Some(base) = self.stream(OPERATION, id, stream)? else { return Ok(false) };
        let last = base | ((1 << SEQUENCE_BITS) - 1);
        self.execute(OPERATION, "DELETE FROM records WHERE id BETWEEN ?1 AND ?2", (base, last))?;
        self.execute(OPERATION, "DELETE FROM streams WHERE id = ?1", (base >> SEQUENCE_BITS,))?;
        Ok(true)
    }

    pub(super) fn acquire(
        &mut self,
        tenant: &TenantId,
        name: &str,
        owner: &str,
        now: Timestamp,
        expires: Timestamp,
    ) -> Result<Option<u64>> {
        const OPERATION: &str = "storage.acquire";
        let id = self.tenant(OPERATION, tenant)?;
        let sql = "SELECT token, owner, expires FROM leases WHERE tenant = ?1 AND name = ?2";
        let held = self
            .conn
            .prepare_cached(sql)
            .and_then(|mut select| {
                let row = |row: &rusqlite::Row<'_>| {
                    let free = row.get::<_, i64>(2)? <= now.as_micros() || row.get_ref(1)?.as_str()? == owner;
                    Ok((row.get::<_, i64>(0)?, free))
                };
                select.query_row((id, name), row).optional()
            })
            .or_fault(OPERATION)?;
        let floor = match held {
            Some((_, false)) => return Ok(None),
            Some((token, true)) => token,
            None => self.floor(OPERATION, "SELECT token_floor FROM tenants WHERE id = ?1", id)?,
        };
        let token = floor + 1;
        self.execute(
            OPERATION,
            "INSERT INTO leases (tenant, name, token, owner, expires) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET token = ?3, owner = ?4, expires = ?5",
            (id, name, token, owner, expires.as_micros()),
        )?;
        Ok(Some(unsigned(token)))
    }

    pub(super) fn renew(&mut self, tenant: &TenantId, fence: &Fence, expires: Timestamp) -> Result<()> {
        const OPERATION: &str = "storage.renew";
        let id = self.tenant(OPERATION, tenant)?;
        check_fence(OPERATION, fence, self.token(OPERATION, id, &fence.lease)?)?;
        self.execute(
            OPERATION,
            "UPDATE leases SET expires = ?3 WHERE tenant = ?1 AND name = ?2",
            (id, fence.lease.as_str(), expires.as_micros()),
        )?;
        Ok(())
    }

    pub(super) fn release(&mut self, tenant: &TenantId, fence: &Fence) -> Result<()> {
        const OPERATION: &str = "storage.release";
        let id = self.tenant(OPERATION, tenant)?;
        let removed = self.execute(
            OPERATION,
            "DELETE FROM leases WHERE tenant = ?1 AND name = ?2 AND token = ?3",
            (id, fence.lease.as_str(), signed(fence.token)),
        )?;
        if removed > 0 {
            self.execute(
                OPERATION,
                "UPDATE tenants SET token_floor = max(token_floor, ?2) WHERE id = ?1",
                (id, signed(fence.token)),
            )?;
        }
        Ok(())
    }

    /// The id of a tenant, made at its first write.
    fn tenant(&mut self, operation: &'static str, tenant: &TenantId) -> Result<i64> {
        if let Some(id) = self.tenants.get(tenant.as_str()) {
            return Ok(*id);
        }
        let name = tenant.as_str();
        let id = match self.number(operation, "SELECT id FROM tenants WHERE name = ?1", (name,))? {
            Some(id) => id,
            None => {
                self.execute(operation, "INSERT INTO tenants (name) VALUES (?1)", (name,))?;
                self.conn.last_insert_rowid()
            }
        };
        self.tenants.insert(tenant.clone(), id);
        Ok(id)
    }

    /// The id that record 0 of a stream has.
    fn stream(&self, operation: &'static str, tenant: i64, stream: &str) -> Result<Option<i64>> {
        let sql = "SELECT id FROM streams WHERE tenant = ?1 AND name = ?2";
        Ok(self.number(operation, sql, (tenant, stream))?.map(|id| id << SEQUENCE_BITS))
    }

    fn new_stream(&self, operation: &'static str, tenant: i64, stream: &str) -> Result<i64> {
        self.execute(operation, "INSERT INTO streams (tenant, name) VALUES (?1, ?2)", (tenant, stream))?;
        let id = self.conn.last_insert_rowid();
        if id >> (63 - SEQUENCE_BITS) != 0 {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                operation,
                "a store holds at most 2^31 streams",
            ));
        }
        Ok(id << SEQUENCE_BITS)
    }

    fn length(&self, operation: &'static str, base: i64) -> Result<u64> {
        let sql = "SELECT id FROM records WHERE id BETWEEN ?1 AND ?2 ORDER BY id DESC LIMIT 1";
        let last = self.number(operation, sql, (base, base | ((1 << SEQUENCE_BITS) - 1)))?;
        Ok(last.map_or(0, |last| unsigned(last - base) + 1))
    }

    fn token(&self, operation: &'static str, tenant: i64, lease: &str) -> Result<Option<u64>> {
        let sql = "SELECT token FROM leases WHERE tenant = ?1 AND name = ?2";
        Ok(self.number(operation, sql, (tenant, lease))?.map(unsigned))
    }

    fn floor(&self, operation: &'static str, sql: &'static str, tenant: i64) -> Result<i64> {
        Ok(self.number(operation, sql, (tenant,))?.unwrap_or(0))
    }

    pub(super) fn number(
        &self,
        operation: &'static str,
        sql: &'static str,
        params: impl Params,
    ) -> Result<Option<i64>> {
        let mut select = self.conn.prepare_cached(sql).or_fault(operation)?;
        select.query_row(params, |row| row.get(0)).optional().or_fault(operation)
    }

    pub(super) fn execute(
        &self,
        operation: &'static str,
        sql: &'static str,
        params: impl Params,
    ) -> Result<usize> {
        self.conn.prepare_cached(sql).and_then(|mut statement| statement.execute(params)).or_fault(operation)
    }
}

/// A stored number; ours are never negative.
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A number to store or to compare with stored ones; what is beyond the range equals none of them.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
