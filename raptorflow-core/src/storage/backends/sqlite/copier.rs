//! `Copier`: copies the write-ahead log to the database on a connection of its own, while others write.

use rusqlite::Connection;

use super::{config::SqliteConfig, fault::OrFault as _, open};
use crate::error::Result;

const OPERATION: &str = "storage.commit";
/// How often it copies: the second time what came during the first.
const PASSES: usize = 2;

/// The connection, opened when it is first needed.
///
/// A copy waits for the disk twice, and on the writer's connection everybody would wait with it.
#[derive(Debug)]
pub(super) struct Copier {
    config: SqliteConfig,
    conn: Option<Connection>,
}

impl Copier {
    pub(super) fn new(config: &SqliteConfig) -> Self {
        Self { config: config.clone(), conn: None }
    }

    /// Copies what was committed until now and nobody reads any more.
    ///
    /// Where it fails, the next copy has another connection.
    pub(super) fn copy(&mut self) -> Result<()> {
        let conn = match self.conn.take() {
            Some(conn) => conn,
            None => open::copier(&self.config)?,
        };
        for _ in 0..PASSES {
            let pragma = conn.prepare_cached("PRAGMA wal_checkpoint(PASSIVE)");
            pragma.and_then(|mut pragma| pragma.query_row([], |_| Ok(()))).or_fault(OPERATION)?;
        }
        self.conn = Some(conn);
        Ok(())
    }

    /// Closes the connection, so that the writer's is the last one.
    pub(super) fn close(&mut self) {
        self.conn = None;
    }
}
