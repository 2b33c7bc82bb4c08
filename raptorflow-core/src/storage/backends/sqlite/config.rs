//! `SqliteConfig` and `Durability`: the settings of the SQLite backend.

use std::{path::PathBuf, time::Duration};

use crate::error::{Error, ErrorKind, Result};

/// What an acknowledged write survives; all three survive the end of the process, `kill -9` included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// A loss of power: the disk has it before the call returns.
    #[default]
    Sync,
    /// The end of the process; a loss of power may take the newest writes, but never damages the file.
    Buffered,
    /// The end of the process; a loss of power may damage the file. For data that can be made again.
    None,
}

/// Settings of a [`crate::storage::SqliteStore`].
///
/// ```
/// use raptorflow_core::storage::{Durability, SqliteConfig};
/// let config = SqliteConfig::new("team.db").with_durability(Durability::Buffered);
/// assert_eq!(config.queue, 1024);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SqliteConfig {
    /// The file; it is made when missing, its folder is not.
    pub path: PathBuf,
    /// What an acknowledged write survives; `Sync` by default.
    pub durability: Durability,
    /// How many writes may wait; further callers wait for a place. 1,024 by default.
    pub queue: usize,
    /// How many writes are committed together at most; 256 by default.
    pub batch: usize,
    /// How many reads may run at once; 4 by default.
    pub readers: usize,
    /// How long to wait while another process writes; 5 seconds by default.
    pub busy_timeout: Duration,
    /// Files up to so many bytes are read whole and checked when they are opened; 64 MiB by default.
    ///
    /// Of a larger one the newest records are checked then, and every value and record when it is read.
    pub verify: u64,
}

impl SqliteConfig {
    /// The default settings for a file.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            durability: Durability::default(),
            queue: 1024,
            batch: 256,
            readers: 4,
            busy_timeout: Duration::from_secs(5),
            verify: 64 << 20,
        }
    }

    /// Another durability.
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// The settings that an address `sqlite:PATH` or `sqlite:PATH?durability=sync|buffered|none` means.
    ///
    /// `address` is what follows `sqlite:`; two slashes in front of the path are skipped.
    pub(crate) fn from_address(address: &str) -> Result<Self> {
        let (path, query) = address.split_once('?').unwrap_or((address, ""));
        let mut config = Self::new(path.strip_prefix("//").unwrap_or(path));
        for option in query.split('&').filter(|option| !option.is_empty()) {
            config.durability = match option {
                "durability=sync" => Durability::Sync,
                "durability=buffered" => Durability::Buffered,
                "durability=none" => Durability::None,
                _ => {
                    return Err(Error::new(
                        ErrorKind::InvalidInput,
                        "storage.open",
                        "expected durability=sync, durability=buffered or durability=none after the question mark",
                    )
                    .with("option", option));
                }
            };
        }
        Ok(config)
    }

    /// Checks what no connection would complain about.
    pub(super) fn check(&self) -> Result<()> {
        let wrong = |field: &'static str, expected: &'static str| {
            Err(Error::new(ErrorKind::InvalidInput, "storage.open", expected).with("field", field))
        };
        if self.path.as_os_str().is_empty() {
            return wrong("path", "expected the path of a file, such as sqlite:team.db");
        }
        // Every connection would get a database of its own.
        if self.path.as_os_str() == ":memory:" {
            return wrong("path", "expected the path of a file; a store in memory has the address memory:");
        }
        for (field, value) in [("queue", self.queue), ("batch", self.batch), ("readers", self.readers)] {
            if value == 0 || value > 1 << 20 {
                return wrong(field, "expected 1 to 1,048,576");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_path_and_options() {
        let parse = |address| SqliteConfig::from_address(address);
        assert_eq!(parse("team.db").unwrap(), SqliteConfig::new("team.db"));
        assert_eq!(parse("///var/team.db").unwrap().path, PathBuf::from("/var/team.db"));
        assert_eq!(parse("a.db?durability=none").unwrap().durability, Durability::None);
        let err = parse("a.db?durabilty=none").unwrap_err();
        assert_eq!((err.kind(), err.get("option")), (ErrorKind::InvalidInput, Some("durabilty=none")));
    }

    #[test]
    fn settings_that_cannot_work_are_refused_by_name() {
        let field = |config: SqliteConfig| config.check().unwrap_err().get("field").map(str::to_owned);
        assert_eq!(field(SqliteConfig::new("")).as_deref(), Some("path"));
        assert_eq!(field(SqliteConfig::new(":memory:")).as_deref(), Some("path"));
        assert_eq!(field(SqliteConfig { queue: 0, ..SqliteConfig::new("a.db") }).as_deref(), Some("queue"));
    }
}
