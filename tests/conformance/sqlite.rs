//! What the SQLite file promises beyond the contracts: crashes, processes, formats and damage.

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use libtest_mimic::{Completion, Failed, Trial};
use raptorflow_core::{
    error::{Error, ErrorKind},
    runtime::{Context, Runtime},
    storage::{Expect, Storage},
};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::{
    backends::block_on,
    child::{Started, WRITERS, batch, stream},
};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial(
            "kill_9_in_the_middle_of_appends_loses_no_acknowledged_record",
            kill_loses_nothing_acknowledged,
        ),
        trial("two_processes_append_to_one_file", two_processes_append_to_one_file),
        trial("a_flipped_bit_in_the_file_is_corrupt", a_flipped_bit_in_the_file_is_corrupt),
        trial("a_missing_record_is_corrupt", a_missing_record_is_corrupt),
        trial("a_newer_format_is_refused_with_both_versions", a_newer_format_is_refused_with_both_versions),
        trial("a_file_of_format_1_is_read_and_goes_on", a_file_of_format_1_is_read_and_goes_on),
        trial("a_file_that_is_no_database_is_refused", a_file_that_is_no_database_is_refused),
        trial("the_database_of_another_program_is_refused_unchanged", another_program_is_refused_unchanged),
        trial("a_folder_and_a_missing_folder_are_refused", a_folder_and_a_missing_folder_are_refused),
        trial("many_openings_of_one_new_file_all_succeed", many_openings_of_one_new_file_all_succeed),
        Trial::ignorable_test("sqlite::a_read_only_file_or_folder_is_refused", || {
            read_only_is_refused(&Place::new())
        }),
    ]
}

fn trial(name: &str, test: fn(&Place)) -> Trial {
    Trial::test(format!("sqlite::{name}"), move || {
        test(&Place::new());
        Ok(())
    })
}

/// A folder for one file.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("store.db")
    }

    fn raw(&self) -> Connection {
        Connection::open(self.file()).unwrap()
    }

    async fn open(&self) -> raptorflow_core::Result<Storage> {
        Storage::open(&format!("sqlite:{}", self.file().display())).await
    }

    async fn refused(&self) -> Error {
        self.open().await.unwrap_err()
    }
}

fn context() -> Context {
    Context::new(&Runtime::current().unwrap())
}

fn kill_loses_nothing_acknowledged(place: &Place) {
    let mut acknowledged: BTreeMap<usize, u64> = BTreeMap::new();
    for lines in [1, 7, 40] {
        let mut child = Started::on(&place.file(), usize::MAX);
        let mut note = |line: Option<(usize, u64)>| {
            line.map(|(writer, length)| acknowledged.insert(writer, length)).is_some()
        };
        for _ in 0..lines {
            assert!(note(child.next()), "the child ended by itself");
        }
        child.kill();
        // What it printed before the kill counts too.
        while note(child.next()) {}
    }
    block_on(async {
        let (ctx, storage) = (context(), place.open().await.unwrap());
        for writer in 0..WRITERS {
            let records = storage.read(&ctx, &stream(writer), 0, usize::MAX).await.unwrap();
            let known = acknowledged.get(&writer).copied().unwrap_or(0);
            assert!(records.len() as u64 >= known, "{} of {known} records are left", records.len());
            let whole = records.chunks(2).all(|pair| pair[0].data == "first" && pair[1].data == "second");
            assert!(whole, "a batch is torn: {records:?}");
        }
    });
}

fn two_processes_append_to_one_file(place: &Place) {
    let mut child = Started::on(&place.file(), 25);
    block_on(async {
        let (ctx, storage) = (context(), place.open().await.unwrap());
        for _ in 0..25 {
            storage.append(&ctx, batch(&stream(0))).await.unwrap();
        }
        while child.next().is_some() {}
        assert!(child.ended_well());
        assert_eq!(storage.length(&ctx, &stream(0)).await.unwrap(), 100);
        assert_eq!(storage.length(&ctx, &stream(1)).await.unwrap(), 50);
        let records = storage.read(&ctx, &stream(0), 0, usize::MAX).await.unwrap();
        assert!(records.chunks(2).all(|pair| pair[0].data == "first" && pair[1].data == "second"));
    });
}

fn a_flipped_bit_in_the_file_is_corrupt(place: &Place) {
    const MARK: &[u8] = b"a payload that is easy to find";
    block_on(async {
        let (ctx, storage) = (context(), place.open().await.unwrap());
        let mut append = batch("stream");
        append.records.push(MARK.into());
        storage.append(&ctx, append).await.unwrap();
        storage.close().await.unwrap();

        let mut bytes = fs::read(place.file()).unwrap();
        let at = bytes.windows(MARK.len()).position(|window| window == MARK).unwrap();
        bytes[at + 5] ^= 0b0000_1000;
        fs::write(place.file(), bytes).unwrap();

        let storage = place.open().await.unwrap();
        assert_eq!(storage.read(&ctx, "stream", 0, 2).await.unwrap().len(), 2);
        let err = storage.read(&ctx, "stream", 0, 3).await.unwrap_err();
        assert_eq!(err.kind(), ErrorKind::Corrupt);
        assert_eq!((err.get("stream"), err.get("sequence")), (Some("stream"), Some("2")));
    });
}

fn a_missing_record_is_corrupt(place: &Place) {
    block_on(async {
        let (ctx, storage) = (context(), place.open().await.unwrap());
        storage.append(&ctx, batch("stream")).await.unwrap();
        storage.append(&ctx, batch("stream")).await.unwrap();
        assert_eq!(place.raw().execute("DELETE FROM arrivals WHERE sequence = 1", []).unwrap(), 1);
        let err = storage.read(&ctx, "stream", 0, 9).await.unwrap_err();
        assert_eq!((err.kind(), err.get("sequence")), (ErrorKind::Corrupt, Some("1")));
    });
}

fn a_newer_format_is_refused_with_both_versions(place: &Place) {
    block_on(async {
        place.open().await.unwrap().close().await.unwrap();
        place.raw().pragma_update(None, "user_version", 3).unwrap();
        let err = place.refused().await;
        assert_eq!(err.kind(), ErrorKind::Corrupt);
        assert_eq!((err.get("found"), err.get("supported")), (Some("3"), Some("2")));
    });
}

fn a_file_of_format_1_is_read_and_goes_on(place: &Place) {
    // Written by the version that had it: the stream `old` of the records `first` and `second`, the key `key`.
    place.raw().execute_batch(include_str!("format1.sql")).unwrap();
    block_on(async {
        let (ctx, storage) = (context(), place.open().await.unwrap());
        assert_eq!(storage.get(&ctx, "key").await.unwrap().unwrap().value, "value");
        assert_eq!(storage.put(&ctx, "key", "next", Expect::Version(2)).await.unwrap(), 3);
        assert_eq!(storage.append(&ctx, batch("old")).await.unwrap(), 4);
        assert_eq!(storage.append(&ctx, batch("new")).await.unwrap(), 2);
        let grant = storage.acquire(&ctx, "lease", "owner", Duration::from_secs(1)).await.unwrap().unwrap();
        assert_eq!(grant.fence.token, 8);
        storage.close().await.unwrap();

        let storage = place.open().await.unwrap();
        let records = storage.read(&ctx, "old", 0, 9).await.unwrap();
        let data: Vec<_> = records.iter().map(|record| &record.data[..]).collect();
        assert_eq!(data, [b"first" as &[u8], b"second", b"first", b"second"]);
        let version: i64 = place.raw().query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        assert_eq!(version, 2);
    });
}

fn a_file_that_is_no_database_is_refused(place: &Place) {
    let text = "These are my notes. ".repeat(100);
    fs::write(place.file(), &text).unwrap();
    block_on(async {
        let err = place.refused().await;
        assert_eq!(err.kind(), ErrorKind::Corrupt);
        assert!(err.message().contains("not an SQLite database"), "{err}");
        assert_eq!(err.get("path"), place.file().to_str());
    });
    assert_eq!(fs::read_to_string(place.file()).unwrap(), text);
}

fn another_program_is_refused_unchanged(place: &Place) {
    place.raw().execute_batch("CREATE TABLE theirs (id INTEGER)").unwrap();
    let before = fs::read(place.file()).unwrap();
    block_on(async {
        let err = place.refused().await;
        assert_eq!(err.kind(), ErrorKind::InvalidInput);
        assert!(err.message().contains("another program"), "{err}");
    });
    assert_eq!(fs::read(place.file()).unwrap(), before);
}

fn a_folder_and_a_missing_folder_are_refused(place: &Place) {
    block_on(async {
        let folder = place.folder.path().display();
        let err = Storage::open(&format!("sqlite:{folder}")).await.unwrap_err();
        assert_eq!(
            (err.kind(), err.message()),
            (ErrorKind::InvalidInput, "the path is a folder; name a file in it")
        );
        let err = Storage::open(&format!("sqlite:{folder}/missing/store.db")).await.unwrap_err();
        assert_eq!(err.kind(), ErrorKind::NotFound);
        assert!(err.message().contains("create it first"), "{err}");
    });
    assert_eq!(fs::read_dir(place.folder.path()).unwrap().count(), 0);
}

fn many_openings_of_one_new_file_all_succeed(place: &Place) {
    block_on(async {
        let storages = futures_util::future::join_all((0..8).map(|_| place.open())).await;
        let ctx = context();
        for storage in storages {
            storage.unwrap().put(&ctx, "key", "value", Expect::Any).await.unwrap();
        }
        let storage = place.open().await.unwrap();
        assert_eq!(storage.get(&ctx, "key").await.unwrap().unwrap().version, 8);
    });
}

fn read_only_is_refused(place: &Place) -> Result<Completion, Failed> {
    let read_only = |path: &std::path::Path, yes| {
        let mut permissions = fs::metadata(path).unwrap().permissions();
        permissions.set_readonly(yes);
        fs::set_permissions(path, permissions).unwrap();
    };
    fs::write(place.file(), "").unwrap();
    read_only(&place.file(), true);
    if fs::OpenOptions::new().write(true).open(place.file()).is_ok() {
        return Ok(Completion::ignored_with("permissions do not bind this user"));
    }
    let refused = || block_on(place.refused());
    assert_eq!(refused().kind(), ErrorKind::PermissionDenied);
    fs::remove_file(place.file()).unwrap();
    read_only(place.folder.path(), true);
    let err = refused();
    read_only(place.folder.path(), false);
    assert!(err.message().contains("folder"), "{err}");
    Ok(Completion::Completed)
}
