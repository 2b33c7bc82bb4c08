//! Erasing a tenant: its rows in one transaction, then their bytes.

use rusqlite::Connection;

use super::{fault::OrFault as _, seal, write::Tables};
use crate::{
    error::{Error, ErrorKind, Result, Retry},
    storage::Erased,
    types::TenantId,
};

const OPERATION: &str = "storage.erase";

impl Tables<'_> {
    /// Forgets the rows of a tenant but for its own.
    ///
    /// That one stays: other processes know its id by heart, and it has what versions and tokens grow from.
    pub(super) fn erase(&mut self, tenant: &TenantId) -> Result<Erased> {
        let Some(known) = self.tenant(OPERATION, tenant)? else { return Ok(Erased::default()) };
        let id = known.id;
        (known.streams, known.tokens) = Default::default();
        let newest = |sql| self.row(OPERATION, sql, (id,), |row| row.get::<_, Option<i64>>(0));
        let version = newest("SELECT max(version) FROM entries WHERE tenant = ?1")?.flatten();
        let token = newest("SELECT max(token) FROM leases WHERE tenant = ?1")?.flatten();
        self.raise_floors(OPERATION, tenant, (version.unwrap_or(0), token.unwrap_or(0)))?;
        self.move_arrivals(OPERATION)?;
        for stream in self.streams_of(id)? {
            self.remove_records(OPERATION, stream)?;
        }
        self.unseal(id)?;
        let mut gone = |sql| Ok::<u64, Error>(self.execute(OPERATION, sql, (id,))? as u64);
        Ok(Erased {
            keys: gone("DELETE FROM entries WHERE tenant = ?1")?,
            streams: gone("DELETE FROM streams WHERE tenant = ?1")?,
            leases: gone("DELETE FROM leases WHERE tenant = ?1")?,
        })
    }

    /// Takes the rows of a tenant off the seal.
    fn unseal(&mut self, id: i64) -> Result<()> {
        let keys = "SELECT key, version, checksum FROM entries WHERE tenant = ?1";
        self.unseal_rows(OPERATION, keys, (id,), |row| {
            Ok(seal::of_entry(id, row.get_ref(0)?.as_str()?, row.get(1)?, row.get(2)?))
        })?;
        let streams = "SELECT id, name FROM streams WHERE tenant = ?1";
        self.unseal_rows(OPERATION, streams, (id,), |row| {
            Ok(seal::of_stream(row.get(0)?, id, row.get_ref(1)?.as_str()?))
        })?;
        let leases = "SELECT name, token, owner, expires FROM leases WHERE tenant = ?1";
        self.unseal_rows(OPERATION, leases, (id,), |row| {
            let (name, owner) = (row.get_ref(0)?.as_str()?, row.get_ref(2)?.as_str()?);
            Ok(seal::of_lease(id, name, row.get(1)?, owner, row.get(3)?))
        })
    }

    fn streams_of(&self, tenant: i64) -> Result<Vec<i64>> {
        let mut select =
            self.conn.prepare_cached("SELECT id FROM streams WHERE tenant = ?1").or_fault(OPERATION)?;
        let ids = select.query_map((tenant,), |row| row.get(0)).or_fault(OPERATION)?;
        ids.collect::<rusqlite::Result<_>>().or_fault(OPERATION)
    }
}

/// Writes the file anew from its live rows and empties the write-ahead log, so that neither has bytes of old rows.
///
/// Overwriting rows as they are deleted (`secure_delete`) would be less work, and leaves what moved between pages
/// before.
pub(super) fn scrub(conn: &Connection) -> Result<()> {
    let done = conn
        .execute_batch("VACUUM")
        .and_then(|()| conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0)));
    match done.or_fault(OPERATION).map_err(still_there)? {
        0 => Ok(()),
        _ => Err(still_there(
            Error::new(
                ErrorKind::Unavailable,
                OPERATION,
                "another process reads the database for too long; let it finish and erase again",
            )
            .retryable(Retry::Soon),
        )),
    }
}

fn still_there(err: Error) -> Error {
    err.with("left", "the rows are gone, their bytes may still be in the file")
}
