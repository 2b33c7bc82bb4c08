//! Opens connections: path, journal mode, durability and the format of the file.

use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, config::DbConfig};

use super::{
    config::{Durability, SqliteConfig},
    fault::{OrFault as _, fault},
    migrate,
    seal::{Seal, damaged},
    verify,
};
use crate::error::{Error, ErrorKind, Result};

const OPERATION: &str = "storage.open";
/// Marks a file as ours: "RFLW" in the header field that SQLite keeps for this.
const APPLICATION: i32 = 0x5246_4c57;
/// The format that this build reads and writes; see `migrate` for older ones.
pub(super) const FORMAT: i32 = 2;
/// Statements kept per connection; there are fewer.
const STATEMENTS: usize = 64;
/// How often to try for the journal mode while other processes open the same new file.
const ATTEMPTS: usize = 16;

/// Opens the connection of the writer; makes the tables of a new file.
pub(super) fn writer(config: &SqliteConfig) -> Result<Connection> {
    check_path(&config.path)?;
    check_log(&config.path)?;
    let flags = OpenFlags::SQLITE_OPEN_CREATE;
    let mut conn = connect(config, flags).map_err(|err| with_path(err, &config.path))?;
    prepare(&mut conn, config).map_err(|err| with_path(err, &config.path))?;
    Ok(conn)
}

/// Opens a connection for reading; the writer's exists already.
pub(super) fn reader(config: &SqliteConfig) -> Result<Connection> {
    let conn = connect(config, OpenFlags::empty()).map_err(|err| with_path(err, &config.path))?;
    conn.pragma_update(None, "query_only", true).or_fault(OPERATION)?;
    Ok(conn)
}

/// Opens a connection for copying the write-ahead log; the writer's exists already.
pub(super) fn copier(config: &SqliteConfig) -> Result<Connection> {
    let conn = connect(config, OpenFlags::empty()).map_err(|err| with_path(err, &config.path))?;
    synchronize(&conn, config)?;
    // The writer's does it at the end.
    copies_at_close(&conn, false)?;
    // A connection that has read nothing does not know that there is a log.
    verify::has_tables(&conn)?;
    Ok(conn)
}

fn connect(config: &SqliteConfig, more: OpenFlags) -> Result<Connection> {
    // One thread at a time holds a connection, so SQLite's own lock around it is not needed.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | more;
    let conn = Connection::open_with_flags(&config.path, flags).or_fault(OPERATION)?;
    conn.busy_timeout(config.busy_timeout).or_fault(OPERATION)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    // The file may come from elsewhere: its schema runs no functions, and damaged pages are noticed early.
    conn.pragma_update(None, "trusted_schema", false).or_fault(OPERATION)?;
    conn.pragma_update(None, "cell_size_check", true).or_fault(OPERATION)?;
    Ok(conn)
}

/// How far the disk is waited for.
fn synchronize(conn: &Connection, config: &SqliteConfig) -> Result<()> {
    let synchronous = match config.durability {
        Durability::Sync => "FULL",
        Durability::Buffered => "NORMAL",
        Durability::None => "OFF",
    };
    conn.pragma_update(None, "synchronous", synchronous).or_fault(OPERATION)
}

fn prepare(conn: &mut Connection, config: &SqliteConfig) -> Result<()> {
    // A file that is refused stays as it is: the last connection to it would copy its write-ahead log, good or not.
    copies_at_close(conn, false)?;
    // Before anything is written: a file of another program stays as it is. In a transaction: another process
    // may be making the tables.
    let format = check_format(&*conn.transaction().or_fault(OPERATION)?).map_err(unreadable)?;
    if matches!(format, Format::Current) {
        verify::check(conn, config).map_err(unreadable)?;
    }
    write_ahead(conn)?;
    synchronize(conn, config)?;
    // The session says when: not while somebody waits for the commit.
    conn.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(())).or_fault(OPERATION)?;
    match format {
        Format::New => create(conn)?,
        Format::Old => migrate::from_1(conn)?,
        Format::Current => {}
    }
    copies_at_close(conn, true)
}

fn copies_at_close(conn: &Connection, yes: bool) -> Result<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !yes).or_fault(OPERATION)?;
    Ok(())
}

fn check_path(path: &Path) -> Result<()> {
    if path.is_dir() {
        let message = "the path is a folder; name a file in it";
        return Err(with_path(Error::new(ErrorKind::InvalidInput, OPERATION, message), path));
    }
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() && !parent.is_dir() => {
            let message = "the folder of the file does not exist; create it first";
            Err(with_path(Error::new(ErrorKind::NotFound, OPERATION, message), path))
        }
        _ => Ok(()),
    }
}

/// Refuses a file that lost all of its bytes: SQLite would take it for a new one and delete its write-ahead log.
///
/// A file has its first page before it has a log, so whoever makes one meanwhile is not in the way.
fn check_log(path: &Path) -> Result<()> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let length = |path: &Path| path.metadata().map(|file| file.len());
    if length(Path::new(&log)).is_ok_and(|length| length > 0) && length(path).is_ok_and(|length| length == 0)
    {
        return Err(with_path(damaged(OPERATION, "an empty file and its write-ahead log"), path));
    }
    Ok(())
}

/// What a file is.
pub(super) enum Format {
    /// New and empty.
    New,
    /// Of an older format that this build reads.
    Old,
    Current,
}

/// What a file is; an error when it is not ours or of a format that this build does not know.
pub(super) fn check_format(conn: &Connection) -> Result<Format> {
    let number = |pragma| conn.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    let application = number("application_id").or_fault(OPERATION)?;
    let format = number("user_version").or_fault(OPERATION)?;
    if application == APPLICATION {
        return match format {
            1 => Ok(Format::Old),
            FORMAT => Ok(Format::Current),
            _ => Err(Error::new(
                ErrorKind::Corrupt,
                OPERATION,
                "the file has a format that this version does not know; use the version that wrote it",
            )
            .with("found", format)
            .with("supported", FORMAT)),
        };
    }
    if verify::has_tables(conn)? {
        return Err(damaged(OPERATION, "the tables of a store and another mark of the program"));
    }
    let tables = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
    if application == 0 && format == 0 && tables.or_fault(OPERATION)? == 0 {
        return Ok(Format::New);
    }
    Err(Error::new(
        ErrorKind::InvalidInput,
        OPERATION,
        "the file is the database of another program; name another file",
    ))
}

/// What an error means while a file is only looked at: these statements do not fail in a file that is whole.
fn unreadable(err: Error) -> Error {
    match err.kind() {
        ErrorKind::Internal => damaged(OPERATION, "the file cannot be read").caused_by(err),
        _ => err,
    }
}

/// Switches the file to a write-ahead log.
fn write_ahead(conn: &Connection) -> Result<()> {
    for attempt in 1.. {
        match conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0)) {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => {
                let message = "the file system has no shared memory for SQLite; use a local disk";
                return Err(Error::new(ErrorKind::Unsupported, OPERATION, message).with("journal_mode", mode));
            }
            // SQLite does not wait for this switch. A transaction does wait until the other process is done.
            Err(err) if err.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && attempt < ATTEMPTS => {
                conn.execute_batch("BEGIN EXCLUSIVE; COMMIT").or_fault(OPERATION)?;
            }
            Err(err) => return Err(fault(OPERATION, err)),
        }
    }
    Ok(())
}

fn create(conn: &mut Connection) -> Result<()> {
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate).or_fault(OPERATION)?;
    // Another process may have been faster.
    if matches!(check_format(&transaction)?, Format::New) {
        transaction.execute_batch(verify::SCHEMA).or_fault(OPERATION)?;
        Seal::default().write(&transaction, OPERATION)?;
        transaction.pragma_update(None, "application_id", APPLICATION).or_fault(OPERATION)?;
        transaction.pragma_update(None, "user_version", FORMAT).or_fault(OPERATION)?;
    }
    transaction.commit().or_fault(OPERATION)
}

fn with_path(err: Error, path: &Path) -> Error {
    err.with("path", path.display())
}
