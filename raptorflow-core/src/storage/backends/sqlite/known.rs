//! `Known`: what the writer remembers of the tables, so that an append reads nothing before it writes.

use std::collections::HashMap;

use rusqlite::Connection;

use super::{
    checksum::of_numbers,
    fault::OrFault as _,
    seal::{Seal, damaged},
    write::unsigned,
};
use crate::{error::Result, types::TenantId};

const OPERATION: &str = "storage.commit";
/// How many streams and leases of one tenant are remembered, each; then that tenant begins anew.
const REMEMBERED: usize = 8192;

/// The state of the tables as of a version of the database; nothing of it outlives a transaction that failed.
#[derive(Default)]
pub(super) struct Known {
    /// What `PRAGMA data_version` said: another number means that another connection wrote.
    version: Option<i64>,
    pub(super) tenants: HashMap<TenantId, Tenant>,
    pub(super) seal: Seal,
    /// Whether the seal has to be written before the commit.
    pub(super) unsealed: bool,
    pub(super) arrivals: Arrivals,
}

/// What is in the table `arrivals`.
#[derive(Default)]
pub(super) struct Arrivals {
    /// The newest one there ever was.
    pub(super) serial: i64,
    pub(super) rows: usize,
    pub(super) bytes: usize,
    /// The length of each stream that has rows there.
    pub(super) lengths: HashMap<i64, u64>,
}

/// A row of `tenants`, and what is known of the tenant's streams and leases.
pub(super) struct Tenant {
    pub(super) id: i64,
    pub(super) version_floor: i64,
    pub(super) token_floor: i64,
    pub(super) streams: HashMap<Box<str>, Stream>,
    /// The token of each lease; `None` of one that nobody has.
    pub(super) tokens: HashMap<Box<str>, Option<u64>>,
}

/// A row of `streams` and its number of records.
#[derive(Clone, Copy)]
pub(super) struct Stream {
    pub(super) id: i64,
    pub(super) length: u64,
}

impl Known {
    /// Makes it fit the database, inside of a transaction.
    ///
    /// # Errors
    /// `Corrupt` when seal and arrivals do not belong together.
    pub(super) fn refresh(&mut self, conn: &Connection) -> Result<()> {
        let version = conn
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut pragma| pragma.query_row([], |row| row.get(0)))
            .or_fault(OPERATION)?;
        if self.version == Some(version) {
            return Ok(());
        }
        *self = Self::default();
        self.seal = Seal::read(conn, OPERATION)?;
        self.arrivals = Arrivals::read(conn, OPERATION, &self.seal)?;
        self.version = Some(version);
        Ok(())
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Arrivals {
    /// Reads what has arrived since a seal.
    ///
    /// # Errors
    /// `Corrupt` when a row is missing, damaged, or of a later epoch than the seal.
    pub(super) fn read(conn: &Connection, operation: &'static str, seal: &Seal) -> Result<Self> {
        let mut arrivals = Self { serial: seal.moved, ..Self::default() };
        let sql = "SELECT serial, stream, sequence, epoch, seal, checksum, length(data) FROM arrivals ORDER BY serial";
        let mut select = conn.prepare_cached(sql).or_fault(operation)?;
        let mut rows = select.query([]).or_fault(operation)?;
        while let Some(row) = rows.next().or_fault(operation)? {
            let number = |column| row.get::<_, i64>(column).or_fault(operation);
            let (serial, stream, sequence) = (number(0)?, number(1)?, number(2)?);
            let numbers = [serial, stream, sequence, number(3)?, number(5)?];
            let whole = number(4)? == i64::from(of_numbers(numbers));
            if !whole || serial != arrivals.serial + 1 || number(3)? > seal.epoch {
                return Err(damaged(operation, "new records are damaged or missing").with("serial", serial));
            }
            let length = unsigned(sequence) + 1;
            let before = arrivals.lengths.insert(stream, length);
            if before.is_some_and(|before| before + 1 != length) {
                return Err(damaged(operation, "new records have a gap").with("serial", serial));
            }
            arrivals.serial = serial;
            arrivals.rows += 1;
            arrivals.bytes += usize::try_from(number(6)?).unwrap_or(0);
        }
        if arrivals.serial < seal.serial {
            return Err(damaged(operation, "new records are missing").with("serial", seal.serial));
        }
        Ok(arrivals)
    }
}

impl Tenant {
    pub(super) fn new(id: i64, version_floor: i64, token_floor: i64) -> Self {
        Self { id, version_floor, token_floor, streams: HashMap::new(), tokens: HashMap::new() }
    }

    pub(super) fn remember_stream(&mut self, name: &str, stream: Stream) {
        if self.streams.len() >= REMEMBERED {
            self.streams.clear();
        }
        self.streams.insert(name.into(), stream);
    }

    pub(super) fn remember_token(&mut self, lease: &str, token: Option<u64>) {
        if self.tokens.len() >= REMEMBERED {
            self.tokens.clear();
        }
        self.tokens.insert(lease.into(), token);
    }
}
