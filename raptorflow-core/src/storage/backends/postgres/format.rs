//! Makes the tables of a new schema, brings those of an older version forward, and refuses those of a newer one.

use sqlx::{Connection as _, PgConnection, Row as _, raw_sql};

use super::{connect::Connector, fault::Fault};
use crate::error::{Error, ErrorKind, Result};

const OPERATION: &str = "storage.open";
/// The steps from one format to the next; the first makes the tables.
const MIGRATIONS: [&str; 1] = [include_str!("schema.sql")];
/// Held while one process changes the tables: "RFLW".
const LOCK: i64 = 0x5246_4c57;

/// Makes sure that the schema has the tables of this version, and forgets writers that ended without a farewell.
pub(super) async fn prepare(connector: &Connector, conn: &mut PgConnection) -> Result<()> {
    migrate(connector, conn).await?;
    // A batch is sent again for minutes at most, and a writer whose name is forgotten takes another.
    sqlx::query("DELETE FROM writers WHERE seen < now() - interval '1 day'")
        .persistent(false)
        .execute(conn)
        .await
        .map_err(|err| Fault::new(OPERATION, err).into_error())?;
    Ok(())
}

async fn migrate(connector: &Connector, conn: &mut PgConnection) -> Result<()> {
    let schema = &connector.config.schema;
    // Nothing of ours needs more than to read and write once the tables are there.
    if found(connector, conn).await? == Some(MIGRATIONS.len()) {
        return Ok(());
    }
    let fault = |err| Fault::new(OPERATION, err).into_error().with("schema", schema);
    let mut transaction = conn.begin().await.map_err(fault)?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(&mut *transaction)
        .await
        .map_err(fault)?;
    // Another process may have been faster.
    let done = found(connector, &mut transaction).await?;
    if done.is_none() {
        check_server(&mut transaction).await?;
        // The name was checked: it is plain. A user without the right to make schemas may own this one.
        let missing = sqlx::query("SELECT to_regnamespace($1) IS NULL").bind(schema);
        let missing: bool =
            missing.fetch_one(&mut *transaction).await.and_then(|row| row.try_get(0)).map_err(fault)?;
        if missing {
            let create = sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}"));
            raw_sql(create).execute(&mut *transaction).await.map_err(fault)?;
        }
    }
    for migration in MIGRATIONS.into_iter().skip(done.unwrap_or(0)) {
        raw_sql(migration).execute(&mut *transaction).await.map_err(fault)?;
    }
    sqlx::query("WITH old AS (DELETE FROM raptorflow_format) INSERT INTO raptorflow_format VALUES ($1)")
        .bind(i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX))
        .execute(&mut *transaction)
        .await
        .map_err(fault)?;
    transaction.commit().await.map_err(fault)
}

/// The format of the tables; `None` when there are none, an error when they are not ours or too new.
async fn found(connector: &Connector, conn: &mut PgConnection) -> Result<Option<usize>> {
    let schema = &connector.config.schema;
    let fault = |err| Fault::new(OPERATION, err).into_error().with("schema", schema);
    let tables = sqlx::query(
        "SELECT relname = 'raptorflow_format' FROM pg_class
         WHERE relnamespace = to_regnamespace($1) AND relkind IN ('r', 'p', 'v', 'S') ORDER BY 1 DESC LIMIT 1",
    );
    let tables = tables.bind(schema).persistent(false).fetch_optional(&mut *conn).await.map_err(fault)?;
    let Some(tables) = tables else { return Ok(None) };
    if !tables.try_get::<bool, _>(0).map_err(fault)? {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            OPERATION,
            "the schema belongs to another program; name another schema",
        )
        .with("schema", schema));
    }
    let format = sqlx::query("SELECT version FROM raptorflow_format").persistent(false);
    let format: i32 = format.fetch_one(&mut *conn).await.and_then(|row| row.try_get(0)).map_err(fault)?;
    match usize::try_from(format) {
        Ok(format) if (1..=MIGRATIONS.len()).contains(&format) => Ok(Some(format)),
        _ => Err(Error::new(
            ErrorKind::Corrupt,
            OPERATION,
            "the database has a format that this version does not know; use the version that wrote it",
        )
        .with("schema", schema)
        .with("found", format)
        .with("supported", MIGRATIONS.len())),
    }
}

/// Names are text and are compared by their bytes, which only one encoding allows.
async fn check_server(conn: &mut PgConnection) -> Result<()> {
    let encoding = sqlx::query("SELECT current_setting('server_encoding')").fetch_one(conn).await;
    let encoding: String =
        encoding.and_then(|row| row.try_get(0)).map_err(|err| Fault::new(OPERATION, err).into_error())?;
    if encoding == "UTF8" {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Unsupported, OPERATION, "expected a database with the encoding UTF8")
        .with("encoding", encoding))
}
