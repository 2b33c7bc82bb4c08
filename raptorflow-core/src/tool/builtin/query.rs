//! `DatabaseQuery`: the tool that asks an SQLite database, which it may only read unless the host says more.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use rusqlite::{
    Connection, Error as SqlError, ErrorCode, OpenFlags, Row, Statement,
    hooks::{AuthAction, AuthContext, Authorization},
    limits::Limit,
    params_from_iter,
    types::{Value as SqlValue, ValueRef},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value, json};

use crate::{
    error::{Error, ErrorKind, Result, Retry},
    runtime::{Clock, Context},
    tool::{Tool, builtin::blocking::blocking, macro_support},
    types::{Effects, ToolSpec},
};

const OPERATION: &str = "tool.query";
/// How many instructions of the database run between two looks at the clock.
const INSTRUCTIONS: i32 = 1000;
/// The longest statement, in bytes.
const MAX_STATEMENT: i32 = 20_000;
/// The longest text or blob that a statement may make, in bytes.
const MAX_VALUE: i32 = 4_000_000;
/// How deep an expression may be nested.
const MAX_DEPTH: i32 = 100;
/// How long a lock of another connection is waited for.
const BUSY: Duration = Duration::from_secs(2);

/// What a [`DatabaseQuery`] asks, and how much it answers.
///
/// ```
/// use raptorflow_core::tool::QueryConfig;
/// let config: QueryConfig = serde_json::from_str(r#"{ "path": "shop.db" }"#).unwrap();
/// assert_eq!((config.write, config.max_rows), (false, 200));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct QueryConfig {
    /// The file of the database, which is there already.
    pub path: PathBuf,
    /// Whether rows may be inserted, updated and deleted; `false` by default. Tables are never made or dropped.
    #[serde(default)]
    pub write: bool,
    /// What is in the database, for the model: tables, columns, units.
    #[serde(default)]
    pub description: String,
    /// How many rows are answered; 200 by default.
    #[serde(default = "default_rows")]
    pub max_rows: usize,
    /// How many bytes of JSON the rows may have; 64 KiB by default.
    #[serde(default = "default_bytes")]
    pub max_bytes: usize,
    /// Seconds for one statement; 10 by default.
    #[serde(default = "default_seconds")]
    pub seconds: u64,
}

fn default_rows() -> usize {
    200
}

fn default_bytes() -> usize {
    64 * 1024
}

fn default_seconds() -> u64 {
    10
}

impl QueryConfig {
    /// A database that may be read.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            write: false,
            description: String::new(),
            max_rows: default_rows(),
            max_bytes: default_bytes(),
            seconds: default_seconds(),
        }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// One SQL statement of SQLite, with ? where a parameter goes.
    sql: String,
    /// The parameters, in order.
    #[serde(default)]
    parameters: Vec<Parameter>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum Parameter {
    Null(()),
    Bool(bool),
    Integer(i64),
    Real(f64),
    Text(String),
}

impl From<Parameter> for SqlValue {
    fn from(parameter: Parameter) -> Self {
        match parameter {
            Parameter::Null(()) => Self::Null,
            Parameter::Bool(value) => Self::Integer(value.into()),
            Parameter::Integer(value) => Self::Integer(value),
            Parameter::Real(value) => Self::Real(value),
            Parameter::Text(value) => Self::Text(value),
        }
    }
}

/// The tool `query`: one statement against an SQLite database.
///
/// By default the file is opened for reading alone and every action of a statement but reading is refused.
/// A statement that takes too long is interrupted, and rows beyond the bounds are left out and said so.
///
/// ```no_run
/// use raptorflow_core::{Engine, tool::{DatabaseQuery, QueryConfig}};
/// let mut config = QueryConfig::new("shop.db");
/// config.description = "orders(id, city, net): one row an order, net in rupees.".to_owned();
/// Engine::builder().tool(DatabaseQuery::new(config));
/// ```
#[derive(Clone, Debug)]
pub struct DatabaseQuery {
    spec: ToolSpec,
    config: Arc<QueryConfig>,
}

impl DatabaseQuery {
    /// The tool over a database; the file is opened at each call.
    #[must_use]
    pub fn new(config: QueryConfig) -> Self {
        let may = if config.write { "Reads or changes rows of" } else { "Reads" };
        let description = format!("{may} an SQLite database with one SQL statement. {}", config.description);
        let parameters = macro_support::parameters::<Arguments>();
        let mut spec = ToolSpec::new("query", description.trim_end(), parameters);
        spec.effects = if config.write { Effects::Write } else { Effects::Read };
        // The statement is interrupted first, so that the tool says why.
        spec.timeout = Duration::from_secs(config.seconds.saturating_add(5));
        Self { spec, config: Arc::new(config) }
    }
}

#[async_trait]
impl Tool for DatabaseQuery {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn call(&self, ctx: &Context, arguments: Value) -> Result<Value> {
        let arguments: Arguments = macro_support::arguments(&arguments)?;
        let (config, inner) = (Arc::clone(&self.config), ctx.clone());
        blocking(ctx, OPERATION, move || answer(&inner, &config, arguments)).await
    }
}

fn answer(ctx: &Context, config: &QueryConfig, arguments: Arguments) -> Result<Value> {
    let connection = open(ctx, config).map_err(|err| failed(err, config))?;
    rows(&connection, config, arguments).map_err(|err| failed(err, config))
}

fn open(ctx: &Context, config: &QueryConfig) -> rusqlite::Result<Connection> {
    let access =
        if config.write { OpenFlags::SQLITE_OPEN_READ_WRITE } else { OpenFlags::SQLITE_OPEN_READ_ONLY };
    // Without the flag for addresses: a path is a path, whatever it begins with.
    let mut connection = Connection::open_with_flags(&config.path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    if !config.write {
        connection.pragma_update(None, "query_only", true)?;
    }
    // Triggers and views of a foreign file may not call what only trusted code should.
    connection.pragma_update(None, "trusted_schema", false)?;
    for (limit, value) in [
        (Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, MAX_STATEMENT),
        (Limit::SQLITE_LIMIT_EXPR_DEPTH, MAX_DEPTH),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    ] {
        connection.set_limit(limit, value)?;
    }
    let write = config.write;
    connection.authorizer(Some(move |asked: AuthContext<'_>| judged(&asked.action, write)))?;
    let (clock, cancel) = (Arc::clone(ctx.runtime().clock()), ctx.cancel().clone());
    let until = clock.elapsed().saturating_add(Duration::from_secs(config.seconds));
    let stop = move || cancel.is_cancelled() || is_over(&*clock, until);
    connection.progress_handler(INSTRUCTIONS, Some(stop))?;
    Ok(connection)
}

fn is_over(clock: &dyn Clock, until: Duration) -> bool {
    clock.elapsed() >= until
}

/// What a statement may do.
fn judged(action: &AuthAction<'_>, write: bool) -> Authorization {
    /// What a model needs to look around; without a value they change nothing.
    const LOOKING: [&str; 7] = [
        "table_info",
        "table_xinfo",
        "table_list",
        "index_list",
        "index_info",
        "index_xinfo",
        "foreign_key_list",
    ];
    match action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => Authorization::Allow,
        AuthAction::Function { function_name } if *function_name != "load_extension" => Authorization::Allow,
        AuthAction::Pragma { pragma_name, .. } if LOOKING.contains(pragma_name) => Authorization::Allow,
        AuthAction::Insert { table_name, .. }
        | AuthAction::Update { table_name, .. }
        | AuthAction::Delete { table_name }
            if write && !table_name.to_ascii_lowercase().starts_with("sqlite_") =>
        {
            Authorization::Allow
        }
        _ => Authorization::Deny,
    }
}

fn rows(connection: &Connection, config: &QueryConfig, arguments: Arguments) -> rusqlite::Result<Value> {
    let mut statement = connection.prepare(&arguments.sql)?;
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let parameters = params_from_iter(arguments.parameters.into_iter().map(SqlValue::from));
    let (rows, more) = collected(&mut statement, parameters, columns.len(), config)?;
    let mut answer = json!({ "columns": columns, "rows": rows });
    if let Some(fields) = answer.as_object_mut() {
        if more {
            fields.insert("more".to_owned(), json!("there are more rows than are shown; ask for less"));
        }
        if !statement.readonly() {
            fields.insert("changed_rows".to_owned(), connection.changes().into());
        }
    }
    Ok(answer)
}

fn collected(
    statement: &mut Statement<'_>,
    parameters: impl rusqlite::Params,
    columns: usize,
    config: &QueryConfig,
) -> rusqlite::Result<(Vec<Value>, bool)> {
    let changes = !statement.readonly();
    let (mut found, mut bytes, mut more) = (Vec::new(), 0_usize, false);
    let mut rows = statement.query(parameters)?;
    while let Some(row) = rows.next()? {
        let row = values(row, columns)?;
        bytes = bytes.saturating_add(row.to_string().len());
        more = more || found.len() == config.max_rows || bytes > config.max_bytes;
        if !more {
            found.push(row);
        } else if !changes {
            // A statement that changes rows is carried out to its end all the same.
            break;
        }
    }
    Ok((found, more))
}

fn values(row: &Row<'_>, columns: usize) -> rusqlite::Result<Value> {
    let value = |index| {
        Ok(match row.get_ref(index)? {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(value) => value.into(),
            ValueRef::Real(value) => {
                Number::from_f64(value).map_or_else(|| Value::from(value.to_string()), Value::Number)
            }
            ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
            ValueRef::Blob(bytes) => format!("{} bytes that are no text", bytes.len()).into(),
        })
    };
    (0..columns).map(value).collect()
}

/// What a failure means to who wrote the statement.
fn failed(err: SqlError, config: &QueryConfig) -> Error {
    let (kind, message, retry) = match (&err, err.sqlite_error_code()) {
        (SqlError::MultipleStatement, _) => (ErrorKind::InvalidInput, "expected one statement", Retry::Never),
        (_, Some(ErrorCode::OperationInterrupted)) => {
            (ErrorKind::Timeout, "the statement took too long", Retry::Never)
        }
        (_, Some(ErrorCode::AuthorizationForStatementDenied | ErrorCode::ReadOnly)) => {
            (ErrorKind::PermissionDenied, "the statement does what is not allowed here", Retry::Never)
        }
        (_, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)) => {
            (ErrorKind::Unavailable, "the database is busy", Retry::Soon)
        }
        (_, Some(ErrorCode::CannotOpen)) => (ErrorKind::NotFound, "cannot open the database", Retry::Never),
        (_, Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt)) => {
            (ErrorKind::Corrupt, "the file is no sound database", Retry::Never)
        }
        (_, Some(ErrorCode::TooBig)) => {
            (ErrorKind::LimitExceeded, "the statement or a value in it is too large", Retry::Never)
        }
        _ => (ErrorKind::InvalidInput, "the statement failed", Retry::Never),
    };
    let err = Error::new(kind, OPERATION, message).retryable(retry).with("reason", &err).caused_by(err);
    if kind == ErrorKind::NotFound || kind == ErrorKind::Corrupt {
        err.with("path", config.path.display())
    } else {
        err
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::runtime::Runtime;

    fn shop() -> (TempDir, QueryConfig) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.db");
        let connection = Connection::open(&path).unwrap();
        let made = "create table orders(id integer primary key, city text, net real, scan blob);
            insert into orders values (1, 'Pune', 10.5, x'00ff'), (2, 'Goa', 20, null), (3, 'Pune', 30, null);";
        connection.execute_batch(made).unwrap();
        (folder, QueryConfig::new(path))
    }

    async fn ask(config: &QueryConfig, sql: &str, parameters: Value) -> Result<Value> {
        let ctx = Context::new(&Runtime::current()?);
        let query = DatabaseQuery::new(config.clone());
        query.call(&ctx, json!({ "sql": sql, "parameters": parameters })).await
    }

    #[tokio::test]
    async fn rows_are_answered_with_their_columns_and_parameters_are_bound() {
        let (_folder, config) = shop();
        let answer =
            ask(&config, "select * from orders where city = ? and net < ?", json!(["Pune", 20])).await;
        let row = json!([1, "Pune", 10.5, "2 bytes that are no text"]);
        assert_eq!(answer.unwrap(), json!({ "columns": ["id", "city", "net", "scan"], "rows": [row] }));
        let sum =
            "with big as (select net from orders where net > 15) select sum(net), count(*), 9e999 from big;";
        assert_eq!(ask(&config, sum, json!([])).await.unwrap()["rows"], json!([[50.0, 2, "inf"]]));
        let info = ask(&config, "pragma table_info(orders)", json!([])).await.unwrap();
        assert_eq!(info["rows"][1][1], "city");
    }

    #[tokio::test]
    async fn nothing_but_reading_is_allowed_by_default() {
        let (folder, config) = shop();
        let other = format!("attach '{}' as other", folder.path().join("other.db").display());
        for sql in [
            "insert into orders(city) values ('x')",
            "update orders set net = 0",
            "delete from orders",
            "drop table orders",
            "create table t(a)",
            "create temp table t(a)",
            "alter table orders add column x",
            "pragma query_only = off",
            "pragma writable_schema = on",
            "pragma journal_mode = delete",
            "vacuum",
            "begin",
            &other,
            "select load_extension('x')",
            "with gone as (select 1) delete from orders",
        ] {
            let err = ask(&config, sql, json!([])).await.unwrap_err();
            assert!(
                matches!(err.kind(), ErrorKind::PermissionDenied | ErrorKind::InvalidInput),
                "{sql}: {err:#}"
            );
        }
        let left = ask(&config, "select count(*) from orders", json!([])).await.unwrap();
        assert_eq!(left["rows"], json!([[3]]));
        assert!(!folder.path().join("other.db").exists());
    }

    #[tokio::test]
    async fn rows_change_only_where_the_host_allows_it_and_tables_never() {
        let (_folder, mut config) = shop();
        config.write = true;
        assert_eq!(DatabaseQuery::new(config.clone()).spec().effects, Effects::Write);
        let answer =
            ask(&config, "update orders set net = net + 1 where city = ?", json!(["Pune"])).await.unwrap();
        assert_eq!(answer["changed_rows"], 2);
        config.max_rows = 1;
        let answer = ask(&config, "delete from orders returning id", json!([])).await.unwrap();
        assert_eq!((&answer["rows"], &answer["changed_rows"]), (&json!([[1]]), &json!(3)));
        for sql in ["drop table orders", "create table t(a)", "pragma writable_schema = on"] {
            let err = ask(&config, sql, json!([])).await.unwrap_err();
            assert_eq!(err.kind(), ErrorKind::PermissionDenied, "{sql}: {err:#}");
        }
    }

    #[tokio::test]
    async fn what_is_too_much_is_left_out_interrupted_or_refused() {
        let (_folder, mut config) = shop();
        config.max_rows = 2;
        let answer = ask(&config, "select id from orders order by id", json!([])).await.unwrap();
        assert_eq!((&answer["rows"], answer["more"].is_string()), (&json!([[1], [2]]), true));
        config.max_bytes = 5;
        let answer = ask(&config, "select id, city from orders", json!([])).await.unwrap();
        assert_eq!((&answer["rows"], answer["more"].is_string()), (&json!([]), true));
        config.seconds = 0;
        let endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n";
        assert_eq!(ask(&config, endless, json!([])).await.unwrap_err().kind(), ErrorKind::Timeout);
        config.seconds = 10;
        for sql in ["select randomblob(1000000000)", "select printf('%*d', 900000000, 1)"] {
            let err = ask(&config, sql, json!([])).await;
            // `printf` gives up without an error, and with nothing.
            assert!(
                err.is_err_and(|err| err.kind() == ErrorKind::LimitExceeded) || sql.contains("printf"),
                "{sql}"
            );
        }
        let long = format!("select '{}'", "x".repeat(30_000));
        assert_eq!(ask(&config, &long, json!([])).await.unwrap_err().kind(), ErrorKind::LimitExceeded);
    }

    #[tokio::test]
    async fn a_wrong_statement_and_a_missing_file_are_named() {
        let (folder, config) = shop();
        let several = ask(&config, "select 1; select 2", json!([])).await.unwrap_err();
        assert_eq!(several.message(), "expected one statement");
        let wrong = ask(&config, "select absent from orders", json!([])).await.unwrap_err();
        assert_eq!(wrong.kind(), ErrorKind::InvalidInput);
        assert!(wrong.get("reason").unwrap().contains("no such column"), "{wrong}");
        let gone = QueryConfig::new(folder.path().join("gone.db"));
        assert_eq!(ask(&gone, "select 1", json!([])).await.unwrap_err().kind(), ErrorKind::NotFound);
        std::fs::write(folder.path().join("text.db"), "no database at all ".repeat(1000)).unwrap();
        let text = QueryConfig::new(folder.path().join("text.db"));
        assert_eq!(
            ask(&text, "select * from orders", json!([])).await.unwrap_err().kind(),
            ErrorKind::Corrupt
        );
    }
}
