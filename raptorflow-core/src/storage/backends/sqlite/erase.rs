//! Erasing a tenant: its rows in one transaction, then their bytes.

use rusqlite::Connection;

use super::{
    fault::OrFault as _,
    write::{SEQUENCE_BITS, Tables},
};
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
        let Some(id) =
            self.number(OPERATION, "SELECT id FROM tenants WHERE name = ?1", (tenant.as_str(),))?
        else {
            return Ok(Erased::default());
        };
        self.execute(
            OPERATION,
            "UPDATE tenants SET
                 version_floor = max(version_floor,
                     coalesce((SELECT max(version) FROM entries WHERE tenant = ?1), 0)),
                 token_floor = max(token_floor,
                     coalesce((SELECT max(token) FROM leases WHERE tenant = ?1), 0))
             WHERE id = ?1",
            (id,),
        )?;
        for base in self.bases(id)? {
            let last = base | ((1 << SEQUENCE_BITS) - 1);
            self.execute(OPERATION, "DELETE FROM records WHERE id BETWEEN ?1 AND ?2", (base, last))?;
        }
        let gone = |sql| Ok::<u64, Error>(self.execute(OPERATION, sql, (id,))? as u64);
        Ok(Erased {
            keys: gone("DELETE FROM entries WHERE tenant = ?1")?,
            streams: gone("DELETE FROM streams WHERE tenant = ?1")?,
            leases: gone("DELETE FROM leases WHERE tenant = ?1")?,
        })
    }

    /// The id that record 0 of each stream of a tenant has.
    fn bases(&self, tenant: i64) -> Result<Vec<i64>> {
        let mut select = self
            .connection()
            .prepare_cached("SELECT id << 32 FROM streams WHERE tenant = ?1")
            .or_fault(OPERATION)?;
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
