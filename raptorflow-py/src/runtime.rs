//! The one async runtime of the process, made at first use, never at import, and refused after a fork.

use std::{process, sync::OnceLock};

use pyo3::{PyResult, Python};
use raptorflow_core::{Error, ErrorKind, runtime::Tasks};
use tokio::runtime::{Builder, Runtime};

use crate::error::raise;

/// The runtime and the process that it belongs to: its threads do not live on in a forked child.
struct Owned {
    process: u32,
    runtime: Runtime,
}

static RUNTIME: OnceLock<Owned> = OnceLock::new();

/// The runtime; its threads start at the first call.
pub(crate) fn runtime(py: Python<'_>) -> PyResult<&'static Runtime> {
    started().map_err(|err| raise(py, &err))
}

/// The spawner of the runtime, for an engine.
pub(crate) fn tasks(py: Python<'_>) -> PyResult<Tasks> {
    Ok(Tasks::on(runtime(py)?.handle().clone()))
}

/// Waits for work without holding the interpreter.
pub(crate) fn wait<T: Send>(
    py: Python<'_>,
    work: impl Future<Output = raptorflow_core::Result<T>> + Send,
) -> PyResult<T> {
    let runtime = runtime(py)?;
    py.detach(|| runtime.block_on(work)).map_err(|err| raise(py, &err))
}

fn started() -> raptorflow_core::Result<&'static Runtime> {
    let owned = match RUNTIME.get() {
        Some(owned) => owned,
        None => {
            let runtime =
                Builder::new_multi_thread().thread_name("raptorflow").enable_all().build().map_err(
                    |err| {
                        Error::new(
                            ErrorKind::Unavailable,
                            "python.start",
                            "the threads of the runtime cannot start",
                        )
                        .caused_by(err)
                    },
                )?;
            RUNTIME.get_or_init(|| Owned { process: process::id(), runtime })
        }
    };
    if owned.process == process::id() {
        return Ok(&owned.runtime);
    }
    let message = "raptorflow was in use before this process was forked, and its threads are gone; use the start \
                   method `spawn` or `forkserver`, or make the first engine after the fork";
    Err(Error::new(ErrorKind::Unsupported, "python.fork", message).with("parent", owned.process))
}
