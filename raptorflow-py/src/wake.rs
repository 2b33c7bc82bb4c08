//! How another thread tells an asyncio loop that jobs wait for it.
//!
//! On Unix it writes a byte that the loop watches for, and never takes the interpreter: a thread that waits for the
//! interpreter while the process ends is torn down in the middle of it, before Python 3.14 with a crash.

use std::sync::Arc;

use pyo3::prelude::*;

use crate::bridge::Shared;

#[cfg(unix)]
mod imp {
    use std::{
        io::{Read as _, Write as _},
        os::{fd::AsRawFd as _, unix::net::UnixStream},
    };

    use pyo3::{intern, prelude::*};

    use super::{Arc, Drain, Shared};

    /// The two ends of a byte's way to the loop.
    pub(crate) struct Wake {
        sender: UnixStream,
        receiver: UnixStream,
    }

    impl Wake {
        pub(crate) fn new() -> PyResult<Self> {
            let (sender, receiver) = UnixStream::pair()?;
            sender.set_nonblocking(true)?;
            receiver.set_nonblocking(true)?;
            Ok(Self { sender, receiver })
        }

        /// Has the loop run the jobs whenever a byte comes.
        pub(crate) fn watch(&self, event_loop: &Bound<'_, PyAny>, shared: &Arc<Shared>) -> PyResult<()> {
            let drain = Drain(Arc::clone(shared));
            let arguments = (self.receiver.as_raw_fd(), drain);
            event_loop.call_method1(intern!(event_loop.py(), "add_reader"), arguments).map(drop)
        }

        pub(crate) fn tell(&self, _shared: &Arc<Shared>) -> bool {
            // A byte that waits already tells the same.
            let _ = (&self.sender).write(&[1]);
            true
        }

        /// Takes what came.
        pub(crate) fn hear(&self) {
            let _ = (&self.receiver).read(&mut [0; 64]);
        }
    }
}

#[cfg(not(unix))]
mod imp {
    use pyo3::{intern, prelude::*};

    use super::{Arc, Drain, Shared};

    /// Nothing: the loops of other systems watch no byte, so each batch takes the interpreter once.
    pub(crate) struct Wake;

    impl Wake {
        pub(crate) fn new() -> PyResult<Self> {
            Ok(Self)
        }

        pub(crate) fn watch(&self, _event_loop: &Bound<'_, PyAny>, _shared: &Arc<Shared>) -> PyResult<()> {
            Ok(())
        }

        pub(crate) fn tell(&self, shared: &Arc<Shared>) -> bool {
            let told = Python::try_attach(|py| {
                let event_loop = shared.event_loop(py)?;
                let drain = Drain(Arc::clone(shared));
                event_loop.call_method1(intern!(py, "call_soon_threadsafe"), (drain,)).map(drop)
            });
            matches!(told, Some(Ok(())))
        }

        pub(crate) fn hear(&self) {}
    }
}

pub(crate) use imp::Wake;

/// The loop calls it to run the jobs that wait.
#[pyclass(frozen, module = "raptorflow._raptorflow")]
pub(crate) struct Drain(Arc<Shared>);

#[pymethods]
impl Drain {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        self.0.drain(py)
    }
}

impl Drop for Drain {
    /// A loop that is closed lets go of what it watches: nobody runs the jobs any more.
    fn drop(&mut self) {
        if cfg!(unix) {
            self.0.close();
        }
    }
}
