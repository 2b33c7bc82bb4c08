//! What is checked when a file is opened: that nothing is damaged, missing, or older than the rest.
//!
//! SQLite notices a damaged write-ahead log and then takes the part before the damage, which is what a crash leaves.
//! It does not notice a page that was damaged in the database, nor that the part before the damage is older than what
//! was already copied to the database. Rows carry checksums, but a row that cannot be found has none. So the whole
//! file is read once: its structure, and the sum of all rows against the [`Seal`].
//!
//! A value or record whose own bytes are damaged does not keep the store closed: whoever reads it gets the error.

use std::{collections::BTreeMap, path::Path, sync::OnceLock};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row};

use super::{
    checksum::of_numbers,
    config::SqliteConfig,
    fault::OrFault as _,
    known::Arrivals,
    seal::{self, Seal, damaged},
};
use crate::error::Result;

const OPERATION: &str = "storage.open";

/// The tables of a new file.
pub(super) const SCHEMA: &str = concat!(include_str!("schema.sql"), include_str!("format2.sql"));

/// Checks a file of the current format.
///
/// # Errors
/// `Corrupt` that says what was found.
pub(super) fn check(conn: &Connection, config: &SqliteConfig) -> Result<()> {
    // One state of the file: others may be writing.
    let state = conn.unchecked_transaction().or_fault(OPERATION)?;
    if !has_tables(conn)? {
        return Err(damaged(OPERATION, "other tables than those of the store"));
    }
    let seal = Seal::read(conn, OPERATION)?;
    let arrivals = Arrivals::read(conn, OPERATION, &seal)?;
    if let Some((epoch, serial)) = copied(&config.path)
        && (epoch > seal.epoch || serial > arrivals.serial)
    {
        return Err(damaged(OPERATION, "the write-ahead log is older than the database"));
    }
    let size = number(conn, "page_count")? * number(conn, "page_size")?;
    if u64::try_from(size).is_ok_and(|size| size <= config.verify) {
        structure(conn)?;
        if digest(conn)? != seal.digest {
            return Err(damaged(OPERATION, "rows are missing or changed"));
        }
    }
    state.finish().or_fault(OPERATION)
}

/// Whether a file has the tables of a store, and no others.
pub(super) fn has_tables(conn: &Connection) -> Result<bool> {
    Ok(tables(conn)? == *expected_tables())
}

/// Checks trees, pages and indexes.
pub(super) fn structure(conn: &Connection) -> Result<()> {
    let found = conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0));
    match found.or_fault(OPERATION)?.as_str() {
        "ok" => Ok(()),
        found => Err(damaged(OPERATION, found)),
    }
}

/// The sum of the hashes of all rows that the seal is about.
pub(super) fn digest(conn: &Connection) -> Result<u64> {
    let mut sum = 0_u64;
    let mut add = |sql, hash: fn(&Row<'_>) -> rusqlite::Result<u64>| {
        let mut select = conn.prepare(sql).or_fault(OPERATION)?;
        let mut rows = select.query([]).or_fault(OPERATION)?;
        while let Some(row) = rows.next().or_fault(OPERATION)? {
            sum = sum.wrapping_add(hash(row).or_fault(OPERATION)?);
        }
        Ok(())
    };
    add("SELECT id, name, version_floor, token_floor FROM tenants", |row| {
        Ok(seal::of_tenant(row.get(0)?, row.get_ref(1)?.as_str()?, row.get(2)?, row.get(3)?))
    })?;
    add("SELECT tenant, key, version, checksum FROM entries NOT INDEXED", |row| {
        Ok(seal::of_entry(row.get(0)?, row.get_ref(1)?.as_str()?, row.get(2)?, row.get(3)?))
    })?;
    add("SELECT id, tenant, name FROM streams NOT INDEXED", |row| {
        Ok(seal::of_stream(row.get(0)?, row.get(1)?, row.get_ref(2)?.as_str()?))
    })?;
    add("SELECT id, checksum FROM records", |row| Ok(seal::of_record(row.get(0)?, row.get(1)?)))?;
    add("SELECT tenant, name, token, owner, expires FROM leases", |row| {
        let (name, owner) = (row.get_ref(1)?.as_str()?, row.get_ref(3)?.as_str()?);
        Ok(seal::of_lease(row.get(0)?, name, row.get(2)?, owner, row.get(4)?))
    })?;
    Ok(sum)
}

/// Names and definitions of all tables and indexes.
type Definitions = BTreeMap<(String, String), Option<String>>;

fn tables(conn: &Connection) -> Result<Definitions> {
    let mut select = conn.prepare("SELECT type, name, sql FROM sqlite_schema").or_fault(OPERATION)?;
    let rows =
        select.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?))).or_fault(OPERATION)?;
    rows.collect::<rusqlite::Result<_>>().or_fault(OPERATION)
}

fn expected_tables() -> &'static Definitions {
    static EXPECTED: OnceLock<Definitions> = OnceLock::new();
    EXPECTED.get_or_init(|| {
        let made = || {
            let conn = Connection::open_in_memory().or_fault(OPERATION)?;
            conn.execute_batch(SCHEMA).or_fault(OPERATION)?;
            tables(&conn)
        };
        // Without memory even for this, no file fits.
        made().unwrap_or_default()
    })
}

/// The epoch and the newest arrival that the file has without its write-ahead log.
///
/// `None` where that cannot be told: after a crash in the middle of a copy, the pages of the file alone do not belong
/// together.
fn copied(path: &Path) -> Option<(i64, i64)> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(address(path), flags).ok()?;
    let seal = Seal::read(&conn, OPERATION).ok()?;
    let sql =
        "SELECT serial, stream, sequence, epoch, checksum, seal FROM arrivals ORDER BY serial DESC LIMIT 1";
    let newest = conn.query_row(sql, [], |row| {
        let numbers = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?];
        let whole = row.get::<_, i64>(5)? == i64::from(of_numbers(numbers));
        Ok(row.get(0).ok().filter(|_| whole))
    });
    let serial = newest.optional().ok()?.flatten();
    Some((seal.epoch, serial.unwrap_or(seal.serial)))
}

/// The address of a file that is read as it is, without locks and without its write-ahead log.
fn address(path: &Path) -> String {
    let mut address = String::from(if cfg!(windows) && path.is_absolute() { "file:///" } else { "file:" });
    for byte in path.to_string_lossy().bytes() {
        match byte {
            b'\\' if cfg!(windows) => address.push('/'),
            b'%' | b'?' | b'#' => address.push_str(&format!("%{byte:02x}")),
            _ => address.push(char::from(byte)),
        }
    }
    address.push_str("?immutable=1");
    address
}

fn number(conn: &Connection, pragma: &str) -> Result<i64> {
    conn.pragma_query_value(None, pragma, |row| row.get(0)).or_fault(OPERATION)
}
