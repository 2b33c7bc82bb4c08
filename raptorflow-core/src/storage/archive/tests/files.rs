//! Files that are damaged, of another kind or out of order are refused, and nothing is written.

use std::{fs, path::Path};

use super::place::{Held, Place};
use crate::{
    error::{Error, ErrorKind},
    runtime::Cancel,
    storage::{
        Expect, Storage,
        archive::{
            line::{Archive, FORMAT, Header, Kind},
            read,
        },
    },
    types::Digest,
};

async fn exported(place: &Place) -> Vec<u8> {
    let storage = Storage::memory();
    Held::sample().put_into(&storage, &place.ctx).await;
    storage.export(&place.ctx, place.file("good")).await.unwrap();
    fs::read(place.file("good")).unwrap()
}

/// What checking a file of these bytes says.
fn refusal(path: &Path, bytes: &[u8]) -> Error {
    fs::write(path, bytes).unwrap();
    read::check(path, &Cancel::new()).unwrap_err()
}

/// A file of these lines with an end that fits them.
fn sealed(header: &[u8], lines: &[&str], counts: Archive) -> Vec<u8> {
    let mut bytes = header.to_vec();
    lines.iter().for_each(|line| bytes.extend([line.as_bytes(), b"\n"].concat()));
    let end = Archive { digest: Digest::of(&bytes), ..counts };
    bytes.extend(end.line().unwrap());
    bytes
}

fn header(kind: Kind, format: u32) -> Vec<u8> {
    Header { kind, format, time: "2026-03-01T09:00:00Z".to_owned() }.line().unwrap()
}

#[tokio::test]
async fn every_truncated_and_every_flipped_file_is_corrupt() {
    let place = Place::new();
    let (good, path) = (exported(&place).await, place.file("bad"));
    for size in 0..good.len() {
        assert_eq!(refusal(&path, &good[..size]).kind(), ErrorKind::Corrupt, "cut at {size}");
    }
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << bit;
            assert_eq!(refusal(&path, &bytes).kind(), ErrorKind::Corrupt, "bit {bit} of byte {at}");
        }
    }
    for more in ["\n", " ", "{\"end\":0}\n"] {
        let bytes = [&good, more.as_bytes()].concat();
        assert_eq!(refusal(&path, &bytes).kind(), ErrorKind::Corrupt, "with {more:?} behind it");
    }
    let end = good.len() - good.iter().rev().skip(1).position(|byte| *byte == b'\n').unwrap() - 1;
    let twice = [&good[..end], &good[end..], &good[end..]].concat();
    assert_eq!(refusal(&path, &twice).kind(), ErrorKind::Corrupt, "with two ends");
}

#[tokio::test]
async fn of_a_damaged_file_nothing_is_written() {
    let place = Place::new();
    let good = exported(&place).await;
    for (name, bytes) in [
        ("cut", good[..good.len() - 9].to_vec()),
        ("changed", {
            let mut bytes = good.clone();
            bytes[150] ^= 1;
            bytes
        }),
    ] {
        fs::write(place.file(name), bytes).unwrap();
        let storage = Storage::memory();
        let err = storage.import(&place.ctx, place.file(name)).await.unwrap_err();
        assert_eq!(err.kind(), ErrorKind::Corrupt);
        assert!(err.get("path").unwrap().ends_with(name), "{err}");
        assert_eq!(Held::of(&storage, &place.ctx).await, Held::default());
        assert_eq!(
            storage.put(&place.ctx, "first", "", Expect::Absent).await.unwrap(),
            1,
            "it was written to"
        );
    }
}

#[test]
fn lines_that_are_out_of_order_are_corrupt_also_with_the_right_digest() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad");
    let (t, s, k, v) = (r#"{"tenant":"t"}"#, r#"{"stream":"s"}"#, r#"{"key":"k"}"#, r#"{"json":1}"#);
    let cases: &[(&[&str], &str)] = &[
        (&[v], "2"),
        (&[k, v], "2"),
        (&[s, v], "2"),
        (&[t, v], "3"),
        (&[t, s, s], "4"),
        (&[t, s, v, s, v], "5"),
        (&[t, s, k], "4"),
        (&[t, k, v, v], "5"),
        (&[t, k, v, s, v], "5"),
        (&[t, k, k], "4"),
        (&[t, k, v, k, v], "5"),
        (&[t, k, v, t], "5"),
        (&[t, r#"{"key":"raptorflow/importing"}"#, v], "3"),
        (&[t, r#"{"key":""}"#, v], "3"),
        (&[t, r#"{"stream":"a\u0000b"}"#, v], "3"),
        (&[r#"{"tenant":"a/b"}"#], "2"),
        (&[t, k, r#"{"base64":"A"}"#], "4"),
        (&[t, k, r#"{"text":1}"#], "4"),
        (&[t, k, r#"{"xml":"<a/>"}"#], "4"),
        (&[t, ""], "3"),
    ];
    for (lines, number) in cases {
        let err = refusal(&path, &sealed(&header(Kind::Snapshot, FORMAT), lines, Archive::EMPTY));
        assert_eq!((err.kind(), err.get("line")), (ErrorKind::Corrupt, Some(*number)), "{lines:?}: {err}");
    }
    // The counts, and a record that never comes.
    for lines in [&[t][..], &[t, s]] {
        let err = refusal(&path, &sealed(&header(Kind::Snapshot, FORMAT), lines, Archive::EMPTY));
        assert_eq!((err.kind(), err.get("line")), (ErrorKind::Corrupt, None), "{lines:?}: {err}");
    }
}

#[tokio::test]
async fn a_newer_format_is_refused_with_both_numbers() {
    let place = Place::new();
    let newer = br#"{"raptorflow":"ledger","format":2,"new":[]}"#;
    let err = refusal(&place.file("newer"), &sealed(&[newer, &b"\n"[..]].concat(), &[], Archive::EMPTY));
    assert_eq!(
        (err.kind(), err.get("found"), err.get("supported")),
        (ErrorKind::Corrupt, Some("2"), Some("1"))
    );
}

#[tokio::test]
async fn files_of_the_other_kind_and_paths_that_cannot_be_are_refused() {
    let place = Place::new();
    let (storage, ctx) = (Storage::memory(), &place.ctx);
    storage.export(ctx, place.file("one")).await.unwrap();
    storage.snapshot(ctx, place.file("all")).await.unwrap();
    let check = |outcome: Result<Archive, Error>, kind, hint| {
        let err = outcome.unwrap_err();
        assert_eq!(err.kind(), kind, "{err}");
        assert!(err.message().contains(hint) && err.get("path").is_some(), "{err}");
    };
    check(storage.import(ctx, place.file("all")).await, ErrorKind::InvalidInput, "use restore");
    check(storage.restore(ctx, place.file("one")).await, ErrorKind::InvalidInput, "use import");
    check(storage.import(ctx, place.file("none")).await, ErrorKind::NotFound, "no such file");
    check(storage.import(ctx, place.file("")).await, ErrorKind::InvalidInput, "got a folder");
    check(storage.export(ctx, place.file("")).await, ErrorKind::InvalidInput, "got a folder");
    check(storage.export(ctx, place.file("none/a")).await, ErrorKind::NotFound, "create it first");
    let two = [r#"{"tenant":"a"}"#, r#"{"tenant":"b"}"#];
    let bytes = sealed(&header(Kind::Export, FORMAT), &two, Archive { tenants: 2, ..Archive::EMPTY });
    fs::write(place.file("two"), bytes).unwrap();
    check(storage.import(ctx, place.file("two")).await, ErrorKind::Corrupt, "one tenant");
}

#[tokio::test]
async fn a_tenant_or_store_with_data_is_left_as_it_is() {
    let place = Place::new();
    let (storage, ctx) = (Storage::memory(), &place.ctx);
    exported(&place).await;
    storage.snapshot(ctx, place.file("all")).await.unwrap();
    let one = Held { keys: Held::sample().keys, ..Held::default() };
    let other = Held { streams: Held::sample().streams, ..Held::default() };
    for held in [one, other] {
        storage.erase(ctx).await.unwrap();
        held.put_into(&storage, ctx).await;
        for err in [
            storage.import(ctx, place.file("good")).await.unwrap_err(),
            storage.restore(&place.of("else"), place.file("all")).await.unwrap_err(),
        ] {
            assert_eq!((err.kind(), err.get("tenant")), (ErrorKind::Conflict, Some("default")), "{err}");
        }
        assert_eq!(Held::of(&storage, ctx).await, held);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn an_archive_is_read_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    exported(&place).await;
    assert_eq!(fs::metadata(place.file("good")).unwrap().permissions().mode() & 0o777, 0o600);
}
