//! The least that a durable log on SQLite needs: one thread writes, and commits together whatever waits.

use std::{
    path::Path,
    sync::mpsc::{Receiver, Sender, channel},
    thread::JoinHandle,
    time::Instant,
};

use futures_util::future::join_all;
use rusqlite::{Connection, params};
use tokio::{runtime::Runtime, sync::oneshot};

/// As many bytes as a step's entry has.
const RECORD: usize = 160;
/// How many records a commit takes at most.
const TOGETHER: usize = 256;

struct Record {
    writer: u32,
    number: u32,
    written: oneshot::Sender<()>,
}

/// Lets so many writers append so many records, each after the one before is on disk; records a second.
pub(crate) fn rate(tokio: &Runtime, file: &Path, writers: u32, records: u32) -> f64 {
    let (sender, thread) = open(file);
    let start = Instant::now();
    tokio.block_on(async {
        let writers = (0..writers).map(|writer| {
            let sender = sender.clone();
            tokio::spawn(async move {
                for number in 0..records {
                    let (written, wait) = oneshot::channel();
                    sender.send(Record { writer, number, written }).expect("a writer");
                    wait.await.expect("a commit");
                }
            })
        });
        for writer in join_all(writers).await {
            writer.expect("a writer that ends");
        }
    });
    let seconds = start.elapsed().as_secs_f64();
    drop(sender);
    thread.join().expect("a thread that ends");
    f64::from(writers * records) / seconds
}

fn open(file: &Path) -> (Sender<Record>, JoinHandle<()>) {
    let connection = Connection::open(file).expect("a file");
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE IF NOT EXISTS log (writer INTEGER, number INTEGER, record BLOB, PRIMARY KEY (writer, number))
             WITHOUT ROWID;
             DELETE FROM log;",
        )
        .expect("a schema");
    let (sender, receiver) = channel();
    (sender, std::thread::spawn(move || write(connection, &receiver)))
}

fn write(mut connection: Connection, receiver: &Receiver<Record>) {
    let record = vec![7_u8; RECORD];
    while let Ok(first) = receiver.recv() {
        let batch: Vec<Record> = std::iter::once(first).chain(receiver.try_iter()).take(TOGETHER).collect();
        let transaction = connection.transaction().expect("a transaction");
        {
            let mut insert =
                transaction.prepare_cached("INSERT INTO log VALUES (?1, ?2, ?3)").expect("a statement");
            for one in &batch {
                insert.execute(params![one.writer, one.number, record]).expect("a row");
            }
        }
        transaction.commit().expect("a commit");
        for one in batch {
            // Nobody waits any more when the measurement was broken off.
            let _ = one.written.send(());
        }
    }
}
