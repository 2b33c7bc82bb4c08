//! The reads: each sees one state of the database.

use std::ops::Bound;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Params};

use super::{
    append::LAST,
    checksum::{OfRecord, check, of_entry},
    fault::OrFault as _,
    write::{SEQUENCE_BITS, signed, unsigned},
};
use crate::{
    error::{Error, ErrorKind, Result},
    storage::{Record, Scan, Versioned, scan_start},
    types::TenantId,
};

pub(super) fn get(conn: &Connection, tenant: &TenantId, key: &str) -> Result<Option<Versioned>> {
    const OPERATION: &str = "storage.get";
    let sql = "SELECT version, checksum, value FROM entries
               WHERE tenant = (SELECT id FROM tenants WHERE name = ?1) AND key = ?2";
    let found = conn
        .prepare_cached(sql)
        .and_then(|mut select| {
            let row = |row: &rusqlite::Row<'_>| {
                Ok((unsigned(row.get(0)?), row.get::<_, i64>(1)?, Bytes::from(row.get::<_, Vec<u8>>(2)?)))
            };
            select.query_row((tenant.as_str(), key), row).optional()
        })
        .or_fault(OPERATION)?;
    let Some((version, stored, value)) = found else { return Ok(None) };
    check(OPERATION, ("key", key), stored, of_entry(tenant.as_str(), key, version, &value))?;
    Ok(Some(Versioned { value, version }))
}

pub(super) fn scan(conn: &Connection, tenant: &TenantId, scan: Scan<'_>) -> Result<Vec<(String, Versioned)>> {
    const OPERATION: &str = "storage.scan";
    let (sql, start) = match scan_start(scan.prefix, scan.after) {
        Bound::Excluded(after) => (
            "SELECT key, version, checksum, value FROM entries
             WHERE tenant = (SELECT id FROM tenants WHERE name = ?1) AND key > ?2 ORDER BY key LIMIT ?3",
            after,
        ),
        Bound::Included(_) | Bound::Unbounded => (
            "SELECT key, version, checksum, value FROM entries
             WHERE tenant = (SELECT id FROM tenants WHERE name = ?1) AND key >= ?2 ORDER BY key LIMIT ?3",
            scan.prefix,
        ),
    };
    let mut select = conn.prepare_cached(sql).or_fault(OPERATION)?;
    let mut rows = select.query((tenant.as_str(), start, signed(scan.limit as u64))).or_fault(OPERATION)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().or_fault(OPERATION)? {
        let key: String = row.get(0).or_fault(OPERATION)?;
        if !key.starts_with(scan.prefix) {
            break;
        }
        let version = unsigned(row.get(1).or_fault(OPERATION)?);
        let stored = row.get(2).or_fault(OPERATION)?;
        let value = Bytes::from(row.get::<_, Vec<u8>>(3).or_fault(OPERATION)?);
        check(OPERATION, ("key", &key), stored, of_entry(tenant.as_str(), &key, version, &value))?;
        found.push((key, Versioned { value, version }));
    }
    Ok(found)
}

pub(super) fn read(
    conn: &Connection,
    tenant: &TenantId,
    stream: &str,
    from: u64,
    limit: usize,
) -> Result<Vec<Record>> {
    const OPERATION: &str = "storage.read";
    // Two statements that must see one state: records move from the one table to the other.
    let state = conn.unchecked_transaction().or_fault(OPERATION)?;
    let mut records = Vec::new();
    let Some(id) = stream_id(conn, OPERATION, tenant, stream)? else { return Ok(records) };
    let wanted = Wanted { stream, sum: OfRecord::new(tenant.as_str(), stream), from, limit };
    let base = id << SEQUENCE_BITS;
    if from <= unsigned(LAST) {
        let sql = "SELECT id & 0xffffffff, checksum, data FROM records WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT ?3";
        wanted.take(conn, sql, (base | signed(from), base | LAST, signed(limit as u64)), &mut records)?;
    }
    if records.len() < limit {
        let sql = "SELECT sequence, checksum, data FROM arrivals WHERE stream = ?1 AND sequence >= ?2
                   ORDER BY serial LIMIT ?3";
        let rest = (limit - records.len()) as u64;
        wanted.take(conn, sql, (id, signed(from), signed(rest)), &mut records)?;
    }
    state.finish().or_fault(OPERATION)?;
    Ok(records)
}

/// What a read asks for.
struct Wanted<'a> {
    stream: &'a str,
    sum: OfRecord,
    from: u64,
    limit: usize,
}

impl Wanted<'_> {
    /// Adds the records that a statement gives.
    fn take(
        &self,
        conn: &Connection,
        sql: &str,
        params: impl Params,
        records: &mut Vec<Record>,
    ) -> Result<()> {
        const OPERATION: &str = "storage.read";
        let mut select = conn.prepare_cached(sql).or_fault(OPERATION)?;
        let mut rows = select.query(params).or_fault(OPERATION)?;
        while records.len() < self.limit
            && let Some(row) = rows.next().or_fault(OPERATION)?
        {
            let sequence = unsigned(row.get(0).or_fault(OPERATION)?);
            let stored = row.get(1).or_fault(OPERATION)?;
            let data = Bytes::copy_from_slice(
                row.get_ref(2).and_then(|data| Ok(data.as_blob()?)).or_fault(OPERATION)?,
            );
            let expected = self.from + records.len() as u64;
            if sequence != expected {
                let message = "a record is missing; restore from a copy";
                return Err(Error::new(ErrorKind::Corrupt, OPERATION, message)
                    .with("stream", self.stream)
                    .with("sequence", expected));
            }
            check(OPERATION, ("stream", self.stream), stored, self.sum.of(sequence, &data))
                .map_err(|err| err.with("sequence", sequence))?;
            records.push(Record { sequence, data });
        }
        Ok(())
    }
}

pub(super) fn length(conn: &Connection, tenant: &TenantId, stream: &str) -> Result<u64> {
    const OPERATION: &str = "storage.length";
    let state = conn.unchecked_transaction().or_fault(OPERATION)?;
    let Some(id) = stream_id(conn, OPERATION, tenant, stream)? else { return Ok(0) };
    let base = id << SEQUENCE_BITS;
    let last = match newest(conn, "SELECT max(sequence) FROM arrivals WHERE stream = ?1", (id,))? {
        Some(last) => Some(last),
        None => {
            let sql = "SELECT max(id) & 0xffffffff FROM records WHERE id BETWEEN ?1 AND ?2";
            newest(conn, sql, (base, base | LAST))?
        }
    };
    state.finish().or_fault(OPERATION)?;
    Ok(last.map_or(0, |last| unsigned(last) + 1))
}

fn newest(conn: &Connection, sql: &str, params: impl Params) -> Result<Option<i64>> {
    let select = conn.prepare_cached(sql);
    select.and_then(|mut select| select.query_row(params, |row| row.get(0))).or_fault("storage.length")
}

fn stream_id(
    conn: &Connection,
    operation: &'static str,
    tenant: &TenantId,
    stream: &str,
) -> Result<Option<i64>> {
    let sql = "SELECT id FROM streams WHERE tenant = (SELECT id FROM tenants WHERE name = ?1) AND name = ?2";
    conn.prepare_cached(sql)
        .and_then(|mut select| select.query_row((tenant.as_str(), stream), |row| row.get(0)).optional())
        .or_fault(operation)
}

pub(super) fn streams(
    conn: &Connection,
    tenant: &TenantId,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<String>> {
    const OPERATION: &str = "storage.streams";
    let (sql, start) = match scan_start(prefix, after) {
        Bound::Excluded(after) => (
            "SELECT name FROM streams
             WHERE tenant = (SELECT id FROM tenants WHERE name = ?1) AND name > ?2 ORDER BY name LIMIT ?3",
            after,
        ),
        Bound::Included(_) | Bound::Unbounded => (
            "SELECT name FROM streams
             WHERE tenant = (SELECT id FROM tenants WHERE name = ?1) AND name >= ?2 ORDER BY name LIMIT ?3",
            prefix,
        ),
    };
    let mut select = conn.prepare_cached(sql).or_fault(OPERATION)?;
    let mut rows = select.query((tenant.as_str(), start, signed(limit as u64))).or_fault(OPERATION)?;
    let mut names = Vec::new();
    while let Some(row) = rows.next().or_fault(OPERATION)? {
        let name: String = row.get(0).or_fault(OPERATION)?;
        if !name.starts_with(prefix) {
            break;
        }
        names.push(name);
    }
    Ok(names)
}

pub(super) fn tenants(conn: &Connection, after: Option<&TenantId>, limit: usize) -> Result<Vec<TenantId>> {
    const OPERATION: &str = "storage.tenants";
    // No name is empty, so all are after the empty one.
    let sql = "SELECT name FROM tenants WHERE name > ?1
               AND (EXISTS (SELECT 1 FROM streams WHERE tenant = tenants.id)
                    OR EXISTS (SELECT 1 FROM entries WHERE tenant = tenants.id))
               ORDER BY name LIMIT ?2";
    let mut select = conn.prepare_cached(sql).or_fault(OPERATION)?;
    let mut rows =
        select.query((after.map_or("", TenantId::as_str), signed(limit as u64))).or_fault(OPERATION)?;
    let mut names = Vec::new();
    while let Some(row) = rows.next().or_fault(OPERATION)? {
        let name: String = row.get(0).or_fault(OPERATION)?;
        let damaged = |err| {
            Error::new(ErrorKind::Corrupt, OPERATION, "a stored name is none of a tenant").caused_by(err)
        };
        names.push(TenantId::new(name).map_err(damaged)?);
    }
    Ok(names)
}
