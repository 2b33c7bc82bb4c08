//! Crashes after every operation of a mixed workload, and power losses at every sync.

use std::{collections::BTreeMap, path::Path};

use libtest_mimic::Trial;
use raptorflow_core::{
    runtime::Context,
    storage::{Append, Durability, Storage},
};
use raptorflow_tests::disk::{Crash, CrashPoint, Disk};

use crate::{
    cell::{Cell, State},
    place::{block_on, context, folder, integrity, open},
};

/// Cells of each tenant, and how many steps each goes.
const CELLS: u64 = 3;
const STEPS: u64 = 24;

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name, durability| {
        Trial::test(name, move || {
            crashes(name, durability);
            Ok(())
        })
    };
    vec![
        trial("a_crash_at_any_point_keeps_what_sync_acknowledged", Durability::Sync),
        trial("a_kill_at_any_point_keeps_what_buffered_acknowledged", Durability::Buffered),
    ]
}

/// The states of one cell with the position at which each was acknowledged.
type History = Vec<(State, usize)>;

fn crashes(name: &str, durability: Durability) {
    let place = folder();
    let disk = Disk::watch(place.path());
    block_on(async {
        let ctx = context();
        let cells = Cell::grid(&ctx, CELLS);
        let histories = work(&ctx, place.path(), &disk, &cells, durability).await;
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let point_folder = folder();
        for point in disk.recording().points() {
            *counts.entry(kind(point.crash)).or_default() += 1;
            let after = tempfile::tempdir_in(point_folder.path()).unwrap();
            point.write_to(after.path()).unwrap();
            let power_loss = point.crash != Crash::Kill;
            let promised = durability == Durability::Sync || !power_loss;
            check(&ctx, after.path(), &point, promised, &cells, &histories).await;
        }
        let points: usize = counts.values().sum();
        println!("{name}: {points} points, {counts:?}");
        assert!(points >= 500, "only {points} points");
    });
}

fn kind(crash: Crash) -> &'static str {
    match crash {
        Crash::Kill => "kills",
        Crash::Unsynced => "unsynced bytes lost",
        Crash::Torn(_) => "last write torn",
        Crash::Odd | Crash::Even => "every second write lost",
    }
}

/// Every cell goes its steps; in each step all go at once.
async fn work(
    ctx: &Context,
    folder: &Path,
    disk: &Disk,
    cells: &[Cell],
    durability: Durability,
) -> Vec<History> {
    let storage = open(ctx, folder, durability).await.unwrap();
    let mut histories: Vec<History> = cells.iter().map(|_| vec![(State::default(), 0)]).collect();
    for number in 0..STEPS {
        let steps = cells.iter().zip(&histories).map(|(cell, history)| {
            let (cell, storage, disk) = (cell.clone(), storage.clone(), disk.clone());
            let before = history[history.len() - 1].0.clone();
            tokio::spawn(async move {
                let after = cell.go(&storage, number, &before).await.unwrap();
                (after, disk.position())
            })
        });
        for (step, history) in steps.collect::<Vec<_>>().into_iter().zip(&mut histories) {
            history.push(step.await.unwrap());
        }
    }
    storage.close().await.unwrap();
    histories
}

/// The reopened store shows one state of each cell, none older than promised, and goes on.
async fn check(
    ctx: &Context,
    folder: &Path,
    point: &CrashPoint,
    promised: bool,
    cells: &[Cell],
    histories: &[History],
) {
    let storage = open(ctx, folder, Durability::None).await.unwrap_or_else(|err| panic!("{point}: {err:#}"));
    for (cell, history) in cells.iter().zip(histories) {
        let oldest = history.iter().rposition(|(_, position)| promised && point.keeps(*position));
        let oldest = oldest.unwrap_or(0);
        if let Err(message) = shows_one_of(cell, &storage, &history[oldest..]).await {
            panic!("{point}: {cell:?} from state {oldest}: {message}");
        }
    }
    let mut append = Append::to("after");
    append.records = vec!["the crash".into()];
    assert_eq!(storage.append(ctx, append).await.unwrap(), 1, "{point}");
    storage.close().await.unwrap();
    assert_eq!(integrity(folder), "ok", "{point}");
}

async fn shows_one_of(cell: &Cell, storage: &Storage, states: &[(State, usize)]) -> Result<(), String> {
    let mut differences = Vec::new();
    for (state, _) in states {
        match cell.compare(storage, state).await {
            Ok(None) => return Ok(()),
            Ok(Some(difference)) => differences.push(difference),
            Err(err) => return Err(format!("{err:#}")),
        }
    }
    Err(format!("{differences:?}"))
}
