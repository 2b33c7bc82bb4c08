//! The reads: each is one statement, so it sees one state of the database.

use std::{ops::Bound, sync::Arc};

use bytes::Bytes;
use sqlx::{
    Arguments as _, Row as _,
    postgres::{PgArguments, PgRow},
};

use super::{batch::signed, checksum::Sum, fault::Fault, readers::Readers};
use crate::{
    error::{Error, ErrorKind, Result},
    storage::{Record, Scan, Versioned, scan_start},
    types::TenantId,
};

/// One more than the most characters that a name has.
const LONGER: usize = 1024 / char::MAX.len_utf8() + 1;

pub(super) async fn get(readers: &Arc<Readers>, tenant: &TenantId, key: &str) -> Result<Option<Versioned>> {
    const OPERATION: &str = "storage.get";
    let sql = "SELECT key, version, checksum, value FROM entries WHERE tenant = $1 AND key = $2";
    let rows = readers.rows(OPERATION, sql, names(OPERATION, [tenant.as_str(), key])?).await?;
    rows.first().map(|row| entry(OPERATION, tenant, row).map(|(_, value)| value)).transpose()
}

pub(super) async fn scan(
    readers: &Arc<Readers>,
    tenant: &TenantId,
    scan: Scan<'_>,
) -> Result<Vec<(String, Versioned)>> {
    const OPERATION: &str = "storage.scan";
    let sql = "SELECT key, version, checksum, value FROM entries
               WHERE tenant = $1 AND key >= $2 AND key < $3 ORDER BY key LIMIT $4";
    let range = range(OPERATION, tenant, scan.prefix, scan.after, scan.limit)?;
    let Some(arguments) = range else { return Ok(Vec::new()) };
    let rows = readers.rows(OPERATION, sql, arguments).await?;
    rows.iter().map(|row| entry(OPERATION, tenant, row)).collect()
}

pub(super) async fn read(
    readers: &Arc<Readers>,
    tenant: &TenantId,
    stream: &str,
    from: u64,
    limit: usize,
) -> Result<Vec<Record>> {
    const OPERATION: &str = "storage.read";
    if limit == 0 {
        return Ok(Vec::new());
    }
    // A row even where no record follows, so that a missing one is noticed.
    let sql = "SELECT s.length, r.sequence, r.checksum, r.data FROM streams s
               LEFT JOIN LATERAL (
                   SELECT * FROM records WHERE stream = s.id AND sequence >= $3 ORDER BY sequence LIMIT $4
               ) r ON true
               WHERE s.tenant = $1 AND s.name = $2 ORDER BY r.sequence";
    let mut arguments = names(OPERATION, [tenant.as_str(), stream])?;
    add(OPERATION, &mut arguments, signed(from))?;
    add(OPERATION, &mut arguments, signed(limit as u64))?;
    let rows = readers.rows(OPERATION, sql, arguments).await?;
    let Some(first) = rows.first() else { return Ok(Vec::new()) };
    let length = unsigned(column(OPERATION, first, 0)?);
    let sum = Sum::new(tenant.as_str(), stream);
    let many = usize::try_from(length.saturating_sub(from)).unwrap_or(usize::MAX).min(limit);
    let mut records = Vec::with_capacity(many.min(rows.len()));
    // The rows lead: the numbers behind the largest offset must not be counted.
    for (row, sequence) in rows.iter().take(many).zip(from..) {
        if column::<Option<i64>>(OPERATION, row, 1)?.map(unsigned) != Some(sequence) {
            break;
        }
        let data: &[u8] = column(OPERATION, row, 3)?;
        sum.check(OPERATION, ("stream", stream), (column(OPERATION, row, 2)?, sequence), data)
            .map_err(|err| err.with("sequence", sequence))?;
        records.push(Record { sequence, data: Bytes::copy_from_slice(data) });
    }
    if records.len() < many {
        return Err(Error::new(ErrorKind::Corrupt, OPERATION, "a record is missing; restore from a copy")
            .with("stream", stream)
            .with("sequence", from + records.len() as u64));
    }
    Ok(records)
}

pub(super) async fn length(readers: &Arc<Readers>, tenant: &TenantId, stream: &str) -> Result<u64> {
    const OPERATION: &str = "storage.length";
    let sql = "SELECT length FROM streams WHERE tenant = $1 AND name = $2";
    let rows = readers.rows(OPERATION, sql, names(OPERATION, [tenant.as_str(), stream])?).await?;
    rows.first().map_or(Ok(0), |row| column(OPERATION, row, 0).map(unsigned))
}

pub(super) async fn streams(
    readers: &Arc<Readers>,
    tenant: &TenantId,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<String>> {
    const OPERATION: &str = "storage.streams";
    let sql =
        "SELECT name FROM streams WHERE tenant = $1 AND name >= $2 AND name < $3 ORDER BY name LIMIT $4";
    let range = range(OPERATION, tenant, prefix, after, limit)?;
    let Some(arguments) = range else { return Ok(Vec::new()) };
    let rows = readers.rows(OPERATION, sql, arguments).await?;
    rows.iter().map(|row| column(OPERATION, row, 0)).collect()
}

pub(super) async fn tenants(
    readers: &Arc<Readers>,
    after: Option<&TenantId>,
    limit: usize,
) -> Result<Vec<TenantId>> {
    const OPERATION: &str = "storage.tenants";
    // From one tenant to the next along both indexes, past all that each one has.
    let sql = "WITH RECURSIVE walk(tenant) AS (
                   SELECT least((SELECT min(tenant) FROM streams WHERE tenant > $1),
                                (SELECT min(tenant) FROM entries WHERE tenant > $1))
                   UNION ALL
                   SELECT least((SELECT min(s.tenant) FROM streams s WHERE s.tenant > walk.tenant),
                                (SELECT min(e.tenant) FROM entries e WHERE e.tenant > walk.tenant))
                   FROM walk WHERE walk.tenant IS NOT NULL
               )
               SELECT tenant FROM walk WHERE tenant IS NOT NULL LIMIT $2";
    // No name is empty, so all are after the empty one.
    let mut arguments = names(OPERATION, [after.map_or("", TenantId::as_str)])?;
    add(OPERATION, &mut arguments, signed(limit as u64))?;
    let rows = readers.rows(OPERATION, sql, arguments).await?;
    let damaged =
        |err| Error::new(ErrorKind::Corrupt, OPERATION, "a stored name is none of a tenant").caused_by(err);
    rows.iter().map(|row| TenantId::new(column::<String>(OPERATION, row, 0)?).map_err(damaged)).collect()
}

fn entry(operation: &'static str, tenant: &TenantId, row: &PgRow) -> Result<(String, Versioned)> {
    let key: String = column(operation, row, 0)?;
    let version = unsigned(column(operation, row, 1)?);
    let value: &[u8] = column(operation, row, 3)?;
    let sum = Sum::new(tenant.as_str(), &key);
    sum.check(operation, ("key", &key), (column(operation, row, 2)?, version), value)?;
    Ok((key, Versioned { value: Bytes::copy_from_slice(value), version }))
}

fn column<'r, T>(operation: &'static str, row: &'r PgRow, index: usize) -> Result<T>
where
    T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    row.try_get(index).map_err(|err| {
        Error::new(ErrorKind::Corrupt, operation, "a stored row does not have the expected form")
            .caused_by(err)
    })
}

fn names<const N: usize>(operation: &'static str, names: [&str; N]) -> Result<PgArguments> {
    let mut arguments = PgArguments::default();
    for name in names {
        add(operation, &mut arguments, name)?;
    }
    Ok(arguments)
}

/// A tenant, the bounds of a walk over names with a prefix after a name, and a limit; `None` where it is empty.
fn range(
    operation: &'static str,
    tenant: &TenantId,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Option<PgArguments>> {
    // No name has a NUL, and PostgreSQL takes none.
    if limit == 0 || prefix.contains('\0') {
        return Ok(None);
    }
    let (from, to) = (first(prefix, after), end(prefix));
    let mut arguments = names(operation, [tenant.as_str(), &from, &to])?;
    add(operation, &mut arguments, signed(limit as u64))?;
    Ok(Some(arguments))
}

/// The least name that a walk may yield.
fn first(prefix: &str, after: Option<&str>) -> String {
    match scan_start(prefix, after) {
        // The next one in byte order, as no name has a NUL.
        Bound::Excluded(after) => {
            format!("{}\u{1}", after.split_once('\0').map_or(after, |(before, _)| before))
        }
        Bound::Included(_) | Bound::Unbounded => prefix.to_owned(),
    }
}

/// The least text that is after all names with a prefix.
fn end(prefix: &str) -> String {
    let mut chars = prefix.chars();
    while let Some(last) = chars.next_back() {
        // The range of characters leaves out what is none. UTF-8 has the order of its characters.
        if let Some(next) = (last..=char::MAX).nth(1) {
            return format!("{}{next}", chars.as_str());
        }
    }
    char::MAX.to_string().repeat(LONGER)
}

fn add<'q, T>(operation: &'static str, arguments: &mut PgArguments, value: T) -> Result<()>
where
    T: sqlx::Encode<'q, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    arguments.add(value).map_err(|err| Fault::new(operation, sqlx::Error::Encode(err)).into_error())
}

/// A stored number; ours are never negative.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_is_bounded_by_its_prefix_and_what_it_goes_on_after() {
        let names =
            ["a", "a\u{1}", "ab", "b", "b/\u{d7ff}", "b/\u{e000}", "b/\u{10ffff}", "b0", "\u{10ffff}"];
        for prefix in ["", "a", "b", "b/", "b/\u{d7ff}", "b/\u{10ffff}", "\u{10ffff}", "c"] {
            for after in [None, Some("a"), Some("a\0b"), Some("b/"), Some("zz"), Some("\u{10ffff}")] {
                let (from, to) = (first(prefix, after), end(prefix));
                for name in names {
                    let wanted = name.starts_with(prefix) && after.is_none_or(|after| name > after);
                    let found = name >= from.as_str() && name < to.as_str();
                    assert_eq!(found, wanted, "{name:?} with {prefix:?} after {after:?}");
                }
            }
        }
        assert!(*"\u{10ffff}".repeat(256) < *end(""));
    }
}
