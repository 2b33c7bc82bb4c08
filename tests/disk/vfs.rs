//! The file system that SQLite opens files with: its own one, with a look at every operation.

// SQLite asks for C functions and raw pointers here. Each function does one thing with its file and hands everything
// else to the system's file system; nothing else in the tests is unsafe.
#![expect(unsafe_code, reason = "a file system of SQLite is a table of C functions")]

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    path::Path,
    ptr, slice,
    sync::{Arc, Once},
};

use rusqlite::ffi;

use super::tape::{Failure, Kind, Operation, Shared, of_path};

/// What SQLite holds of an open file; the system's file follows right behind it.
#[repr(C)]
struct File {
    methods: *const ffi::sqlite3_io_methods,
    /// A `Box<Watched>`.
    watched: *mut Watched,
}

struct Watched {
    disk: Arc<Shared>,
    name: Arc<str>,
}

/// Makes the shim the file system of all later connections of the process; a second call does nothing.
pub(super) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // SAFETY: SQLite keeps the table for good, so it is leaked. Every function but two is the system's, and those
        // take the file system only for what is equal in both tables.
        unsafe {
            let system = ffi::sqlite3_vfs_find(ptr::null());
            assert!(!system.is_null(), "SQLite has no file system");
            let shim = ffi::sqlite3_vfs {
                szOsFile: (*system).szOsFile + size_of::<File>() as c_int,
                pNext: ptr::null_mut(),
                zName: c"recording".as_ptr(),
                pAppData: system.cast(),
                xOpen: Some(open),
                xDelete: Some(delete),
                ..*system
            };
            let code = ffi::sqlite3_vfs_register(Box::into_raw(Box::new(shim)), 1);
            assert_eq!(code, ffi::SQLITE_OK, "the shim is refused");
        }
    });
}

/// The table of an open file.
static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 3,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: Some(fetch),
    xUnfetch: Some(unfetch),
};

/// The system's file system.
unsafe fn system(shim: *mut ffi::sqlite3_vfs) -> *mut ffi::sqlite3_vfs {
    // SAFETY: `install` put it there.
    unsafe { (*shim).pAppData.cast() }
}

/// The system's file behind one of ours.
unsafe fn behind(file: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
    // SAFETY: `szOsFile` made room for both.
    unsafe { file.cast::<File>().add(1).cast() }
}

unsafe fn watched<'a>(file: *mut ffi::sqlite3_file) -> &'a Watched {
    // SAFETY: `open` put it there, and SQLite calls nothing after `close`.
    unsafe { &*(*file.cast::<File>()).watched }
}

/// Calls the system's function of the same name.
macro_rules! pass {
    ($method:ident($file:expr $(, $argument:expr)*)) => {{
        let file = behind($file);
        match (*(*file).pMethods).$method {
            Some(method) => method(file $(, $argument)*),
            None => ffi::SQLITE_IOERR,
        }
    }};
}

unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite gives room of `szOsFile` bytes and a name that ends with NUL or none.
    unsafe {
        let system = system(vfs);
        let Some(open) = (*system).xOpen else { return ffi::SQLITE_CANTOPEN };
        let Some((disk, name_there)) = path(name).and_then(of_path) else {
            // A file elsewhere, or one without a name: the system's file takes the place of ours.
            return open(system, name, file, flags, out);
        };
        (*file).pMethods = ptr::null();
        let inner = behind(file);
        (*inner).pMethods = ptr::null();
        let code = open(system, name, inner, flags, out);
        if !(*inner).pMethods.is_null() {
            let watched = Box::into_raw(Box::new(Watched { disk, name: name_there }));
            file.cast::<File>().write(File { methods: &raw const METHODS, watched });
        }
        code
    }
}

unsafe fn path<'a>(name: *const c_char) -> Option<&'a Path> {
    if name.is_null() {
        return None;
    }
    // SAFETY: SQLite's names end with NUL.
    unsafe { CStr::from_ptr(name) }.to_str().ok().map(Path::new)
}

unsafe extern "C" fn delete(vfs: *mut ffi::sqlite3_vfs, name: *const c_char, folder: c_int) -> c_int {
    // SAFETY: as in `open`.
    unsafe {
        let system = system(vfs);
        let Some(delete) = (*system).xDelete else { return ffi::SQLITE_IOERR_DELETE };
        let Some((disk, file)) = path(name).and_then(of_path) else { return delete(system, name, folder) };
        let mut state = disk.state();
        if state.failure(Kind::Other).is_some() {
            return ffi::SQLITE_IOERR_DELETE;
        }
        let code = delete(system, name, folder);
        if code == ffi::SQLITE_OK {
            state.done(Operation::Delete { file, lasting: folder != 0 });
        }
        code
    }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite closes once; the box came from `open`.
    unsafe {
        let code = pass!(xClose(file));
        drop(Box::from_raw((*file.cast::<File>()).watched));
        code
    }
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    to: *mut c_void,
    length: c_int,
    offset: i64,
) -> c_int {
    // SAFETY: SQLite's own arguments go on to the system.
    unsafe {
        if watched(file).disk.state().failure(Kind::Read).is_some() {
            return ffi::SQLITE_IOERR_READ;
        }
        pass!(xRead(file, to, length, offset))
    }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    from: *const c_void,
    length: c_int,
    offset: i64,
) -> c_int {
    // SAFETY: SQLite's own arguments; the buffer has `length` bytes, of which a failure writes half.
    unsafe {
        let Watched { disk, name } = watched(file);
        let mut state = disk.state();
        let failure = state.failure(Kind::Write);
        let length = if failure.is_some() { length / 2 } else { length };
        let code = pass!(xWrite(file, from, length, offset));
        if code == ffi::SQLITE_OK {
            let bytes = slice::from_raw_parts(from.cast::<u8>(), usize::try_from(length).unwrap_or(0));
            let offset = usize::try_from(offset).unwrap_or(0);
            state.done(Operation::Write { file: Arc::clone(name), offset, bytes: bytes.into() });
        }
        match failure {
            Some(Failure::Full) => ffi::SQLITE_FULL,
            Some(_) => ffi::SQLITE_IOERR_WRITE,
            None => code,
        }
    }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    // SAFETY: SQLite's own arguments go on to the system.
    unsafe {
        let Watched { disk, name } = watched(file);
        let mut state = disk.state();
        if state.failure(Kind::Other).is_some() {
            return ffi::SQLITE_IOERR_TRUNCATE;
        }
        let code = pass!(xTruncate(file, size));
        if code == ffi::SQLITE_OK {
            let size = usize::try_from(size).unwrap_or(0);
            state.done(Operation::Truncate { file: Arc::clone(name), size });
        }
        code
    }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    // SAFETY: the file is open.
    let Watched { disk, name } = unsafe { watched(file) };
    let mut state = disk.state();
    if state.failure(Kind::Other).is_some() {
        return ffi::SQLITE_IOERR_FSYNC;
    }
    // The system's own sync would only take time: the tape says what power losses leave.
    state.done(Operation::Sync { file: Arc::clone(name) });
    ffi::SQLITE_OK
}

/// Functions that only hand on.
macro_rules! handed_on {
    ($($name:ident = $method:ident($($argument:ident: $type:ty),*);)*) => {
        $(unsafe extern "C" fn $name(file: *mut ffi::sqlite3_file $(, $argument: $type)*) -> c_int {
            // SAFETY: SQLite's own arguments go on to the system.
            unsafe { pass!($method(file $(, $argument)*)) }
        })*
    };
}

handed_on! {
    file_size = xFileSize(size: *mut i64);
    lock = xLock(level: c_int);
    unlock = xUnlock(level: c_int);
    check_reserved_lock = xCheckReservedLock(reserved: *mut c_int);
    file_control = xFileControl(operation: c_int, argument: *mut c_void);
    sector_size = xSectorSize();
    device_characteristics = xDeviceCharacteristics();
    shm_map = xShmMap(page: c_int, size: c_int, extend: c_int, to: *mut *mut c_void);
    shm_lock = xShmLock(offset: c_int, count: c_int, flags: c_int);
    shm_unmap = xShmUnmap(delete: c_int);
    fetch = xFetch(offset: i64, length: c_int, to: *mut *mut c_void);
    unfetch = xUnfetch(offset: i64, page: *mut c_void);
}

unsafe extern "C" fn shm_barrier(file: *mut ffi::sqlite3_file) {
    // SAFETY: as above.
    unsafe {
        let file = behind(file);
        if let Some(barrier) = (*(*file).pMethods).xShmBarrier {
            barrier(file);
        }
    }
}
