//! A disk under SQLite that writes down what it is asked to do, and that fails when told to.
//!
//! [`Disk::watch`] is the handle for one folder; `vfs` stands between SQLite and its own file system, `tape` keeps the
//! operations, and `crash` rebuilds what a crash would have left after any of them.
//!
//! ```
//! use raptorflow_tests::disk::{Disk, Failure, Lasting};
//!
//! let folder = tempfile::tempdir().unwrap();
//! let disk = Disk::watch(folder.path());
//! let conn = rusqlite::Connection::open(folder.path().join("a.db")).unwrap();
//! conn.execute_batch("CREATE TABLE numbers (n INTEGER)").unwrap();
//! let acknowledged = disk.position();
//!
//! for point in disk.recording().points().filter(|point| point.keeps(acknowledged)) {
//!     let after = tempfile::tempdir().unwrap();
//!     point.write_to(after.path()).unwrap();
//!     let conn = rusqlite::Connection::open(after.path().join("a.db")).unwrap();
//!     conn.execute("INSERT INTO numbers VALUES (1)", []).unwrap();
//! }
//!
//! disk.fail_at(0, Failure::Full, Lasting::UntilHealed);
//! assert!(conn.execute("INSERT INTO numbers VALUES (1)", []).is_err());
//! disk.heal();
//! conn.execute("INSERT INTO numbers VALUES (1)", []).unwrap();
//! ```

mod crash;
mod tape;
mod vfs;

pub use crash::{Crash, CrashPoint, Recording};
pub use tape::{Disk, Failure, Lasting};
