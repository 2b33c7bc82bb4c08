//! `PostgresConfig`: the settings of the PostgreSQL backend.

use std::{fmt, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{ConnectOptions as _, postgres::PgConnectOptions};

use crate::error::{Error, ErrorKind, Result};

const OPERATION: &str = "storage.open";
/// The longest name that PostgreSQL does not cut off, in bytes.
const MAX_SCHEMA: usize = 63;
/// What an address may say after its question mark, besides `schema` and `options[…]`.
const OPTIONS: [&str; 17] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "user",
];

/// Settings of a [`crate::storage::PostgresStore`].
///
/// The address is never shown, because it may hold a password.
/// What it leaves out comes from the variables of PostgreSQL's own programs, such as `PGHOST` and `PGPASSWORD`, and
/// from the password file.
///
/// ```
/// use raptorflow_core::storage::PostgresConfig;
/// let config = PostgresConfig::new("postgres://app:secret@db.internal/app?sslmode=verify-full").with_schema("staging");
/// assert_eq!((config.schema.as_str(), config.readers), ("staging", 4));
/// assert!(!format!("{config:?}").contains("secret"));
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct PostgresConfig {
    address: SecretString,
    /// The schema that holds the tables; it is made when missing. `raptorflow` by default.
    pub schema: String,
    /// How many writes may wait or be under way; further callers wait for a place. 1,024 by default.
    pub queue: usize,
    /// How many writes are committed together at most; 256 by default.
    pub batch: usize,
    /// How many reads may run at once, each on a connection; 4 by default.
    pub readers: usize,
    /// How long to wait for a new connection; 5 seconds by default.
    pub connect_timeout: Duration,
    /// How long a statement may take before the server ends it; 30 seconds by default.
    pub statement_timeout: Duration,
    /// How long a write waits for another transaction that holds what it needs; 10 seconds by default.
    pub lock_timeout: Duration,
    /// How long calls wait for a server that went away, before they fail; 10 seconds by default.
    pub reconnect: Duration,
}

impl PostgresConfig {
    /// The default settings for an address such as `postgres://user:password@host:5432/database?sslmode=require`.
    #[must_use]
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: SecretString::from(address.into()),
            schema: "raptorflow".to_owned(),
            queue: 1024,
            batch: 256,
            readers: 4,
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(10),
            reconnect: Duration::from_secs(10),
        }
    }

    /// Another schema.
    #[must_use]
    pub fn with_schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// The settings that an address `postgres://…` means; `schema=NAME` after its question mark names the schema.
    pub(crate) fn from_address(address: &str) -> Self {
        let (place, query) = address.split_once('?').unwrap_or((address, ""));
        let (schemas, others): (Vec<&str>, Vec<&str>) =
            query.split('&').filter(|option| !option.is_empty()).partition(|it| it.starts_with("schema="));
        let address =
            if others.is_empty() { place.to_owned() } else { format!("{place}?{}", others.join("&")) };
        let config = Self::new(address);
        match schemas.last().and_then(|option| option.strip_prefix("schema=")) {
            Some(schema) => config.with_schema(schema),
            None => config,
        }
    }

    /// Checks all settings and gives what a connection needs.
    pub(super) fn check(&self) -> Result<PgConnectOptions> {
        let address = self.address.expose_secret();
        if !address.starts_with("postgres://") && !address.starts_with("postgresql://") {
            return Err(wrong("address", "expected an address such as postgres://user@host/database"));
        }
        for option in address.split_once('?').map_or("", |(_, query)| query).split('&') {
            let name = option.split_once('=').map_or(option, |(name, _)| name);
            if !name.is_empty() && !name.starts_with("options[") && !OPTIONS.contains(&name) {
                let known = "expected schema, sslmode or another option that PostgreSQL knows after the question mark";
                return Err(wrong("option", known).with("option", name));
            }
        }
        let first = |c: char| c.is_ascii_lowercase() || c == '_';
        let plain = self.schema.starts_with(first)
            && self.schema.chars().all(|c| first(c) || c.is_ascii_digit())
            && self.schema.len() <= MAX_SCHEMA
            && !self.schema.starts_with("pg_");
        if !plain {
            let expected = "expected at most 63 of a-z, 0-9 and _ that begin with a letter and not with pg_";
            return Err(wrong("schema", expected).with("schema", self.schema.escape_debug()));
        }
        for (field, value) in [("queue", self.queue), ("batch", self.batch), ("readers", self.readers)] {
            if value == 0 || value > 1 << 20 {
                return Err(wrong(field, "expected 1 to 1,048,576"));
            }
        }
        for (field, value) in
            [("statement_timeout", self.statement_timeout), ("lock_timeout", self.lock_timeout)]
        {
            // For PostgreSQL, 0 would mean no limit.
            if value < Duration::from_millis(1) || value > Duration::from_secs(86_400) {
                return Err(wrong(field, "expected 1 millisecond to 1 day"));
            }
        }
        // Its own error may quote a part of the address.
        let options: PgConnectOptions = address
            .parse()
            .map_err(|_| wrong("address", "expected an address such as postgres://user@host/database"))?;
        let named = options.get_application_name().is_some();
        let options = if named { options } else { options.application_name("raptorflow") };
        Ok(options.disable_statement_logging())
    }
}

impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("PostgresConfig");
        out.field("schema", &self.schema).field("queue", &self.queue).field("batch", &self.batch);
        out.field("readers", &self.readers).field("reconnect", &self.reconnect).finish_non_exhaustive()
    }
}

fn wrong(field: &'static str, expected: &'static str) -> Error {
    Error::new(ErrorKind::InvalidInput, OPERATION, expected).with("field", field)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(config: &PostgresConfig) -> Option<String> {
        let err = config.check().unwrap_err();
        assert_eq!(err.kind(), ErrorKind::InvalidInput);
        assert!(!format!("{err:#} {err:?} {config:?}").contains("hidden"));
        err.get("field").map(str::to_owned)
    }

    #[test]
    fn an_address_keeps_its_options_and_gives_the_schema_away() {
        let config =
            PostgresConfig::from_address("postgres://app:hidden@host:6543/db?schema=mine&sslmode=require");
        assert_eq!(config.schema, "mine");
        assert_eq!(config.address.expose_secret(), "postgres://app:hidden@host:6543/db?sslmode=require");
        let options = config.check().unwrap();
        assert_eq!((options.get_host(), options.get_port()), ("host", 6543));
        assert_eq!(options.get_database(), Some("db"));
        let plain = PostgresConfig::from_address("postgresql://host/db");
        assert_eq!(plain.schema, "raptorflow");
        assert_eq!(plain.check().unwrap().get_application_name(), Some("raptorflow"));
    }

    #[test]
    fn settings_that_cannot_work_are_refused_by_name_and_without_the_password() {
        for (address, expected) in [
            ("mysql://app:hidden@host/db", "address"),
            ("postgres:app:hidden@host/db", "address"),
            ("postgres://app:hidden@host:port/db", "address"),
            ("postgres://app:hidden@host/db?passwort=hidden", "option"),
            ("postgres://app:hidden@host/db?sslmode=hidden", "address"),
            ("postgres://app:hidden@host/db?schema=", "schema"),
            ("postgres://app:hidden@host/db?schema=Mine", "schema"),
            ("postgres://app:hidden@host/db?schema=pg_mine", "schema"),
        ] {
            assert_eq!(field(&PostgresConfig::from_address(address)).as_deref(), Some(expected), "{address}");
        }
        let good = || PostgresConfig::new("postgres://host/db");
        assert_eq!(field(&PostgresConfig { queue: 0, ..good() }).as_deref(), Some("queue"));
        let endless = PostgresConfig { lock_timeout: Duration::ZERO, ..good() };
        assert_eq!(field(&endless).as_deref(), Some("lock_timeout"));
    }
}
