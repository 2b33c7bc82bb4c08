//! The reads: each is one statement, so it sees one state of the database.

use std::ops::Bound;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _};

use super::{
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
    if from >= 1 << SEQUENCE_BITS {
        return Ok(Vec::new());
    }
    // CROSS JOIN fixes the order: first the one row of the stream, then its records along their tree.
    let sql = "SELECT records.id & 0xffffffff, checksum, data FROM streams CROSS JOIN records
               WHERE streams.tenant = (SELECT id FROM tenants WHERE name = ?1) AND streams.name = ?2
               AND records.id BETWEEN (streams.id << 32) + ?3 AND (streams.id << 32) + 0xffffffff
               ORDER BY records.id LIMIT ?4";
    let sum = OfRecord::new(tenant.as_str(), stream);
    let mut select = conn.prepare_cached(sql).or_fault(OPERATION)?;
    let mut rows =
        select.query((tenant.as_str(), stream, signed(from), signed(limit as u64))).or_fault(OPERATION)?;
    let mut records = Vec::new();
    while let Some(row) = rows.next().or_fault(OPERATION)? {
        let sequence = unsigned(row.get(0).or_fault(OPERATION)?);
        let stored = row.get(1).or_fault(OPERATION)?;
        let data = Bytes::from(row.get::<_, Vec<u8>>(2).or_fault(OPERATION)?);
        let expected = from + records.len() as u64;
        if sequence != expected {
            return Err(Error::new(
                ErrorKind::Corrupt,
                OPERATION,
                "a record is missing; restore from a copy",
            )
            .with("stream", stream)
            .with("sequence", expected));
        }
        check(OPERATION, ("stream", stream), stored, sum.of(sequence, &data))
            .map_err(|err| err.with("sequence", sequence))?;
        records.push(Record { sequence, data });
    }
    Ok(records)
}

pub(super) fn length(conn: &Connection, tenant: &TenantId, stream: &str) -> Result<u64> {
    let sql = "SELECT (records.id & 0xffffffff) + 1 FROM streams CROSS JOIN records
               WHERE streams.tenant = (SELECT id FROM tenants WHERE name = ?1) AND streams.name = ?2
               AND records.id BETWEEN streams.id << 32 AND (streams.id << 32) + 0xffffffff
               ORDER BY records.id DESC LIMIT 1";
    let length = conn
        .prepare_cached(sql)
        .and_then(|mut select| select.query_row((tenant.as_str(), stream), |row| row.get(0)).optional())
        .or_fault("storage.length")?;
    Ok(length.map_or(0, unsigned))
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
