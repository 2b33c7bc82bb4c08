//! Single bits that are flipped and ends that are cut off, in the file and in its write-ahead log.

use std::{
    collections::BTreeMap,
    fs,
    hash::{DefaultHasher, Hash, Hasher as _},
    ops::Range,
    path::Path,
    time::Duration,
};

use libtest_mimic::Trial;
use raptorflow_core::{
    error::{ErrorKind, Result},
    runtime::Context,
    storage::{Append, Durability, Expect, Fence, Record, Scan, Storage, Versioned},
};

use crate::{
    cell::random,
    place::{FILE, block_on, context, folder, open},
};

/// How many bits are flipped in each of the two files, and at how many places each is cut.
const FLIPS: u64 = 5000;
const CUTS: u64 = 500;
/// The part of each file that says how to read the rest; all of its bits are flipped.
const HEADER: Range<usize> = 0..100;
const WRITES: u64 = 150;
/// From which write on the files are taken: meanwhile the log is copied to the file and begins anew.
const TAKEN: u64 = 100;
const LOG: &str = "store.db-wal";
const STREAMS: [&str; 3] = ["a", "b", "c"];
const TENANTS: [&str; 2] = ["one", "two"];

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name, file| {
        Trial::test(name, move || {
            damages(name, file);
            Ok(())
        })
    };
    vec![
        trial("a_flipped_bit_or_a_cut_of_the_file_is_never_served", FILE),
        trial("a_flipped_bit_or_a_cut_of_the_log_leaves_what_was_written_before", LOG),
    ]
}

/// What a store shows: a hash of the outcome of each call.
type Shown = BTreeMap<String, u64>;

/// What a store showed after each write, and its files after some.
struct Story {
    history: Vec<Shown>,
    images: Vec<Image>,
    /// The newest grant of the one lease.
    fence: Fence,
}

/// The files of a store.
struct Image {
    files: BTreeMap<&'static str, Vec<u8>>,
    /// How many writes were done.
    at: usize,
}

/// What became of a damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    /// The store was not opened.
    AtOpening,
    /// A call failed, and the others told the truth.
    AtReading,
    /// All of it was there.
    Harmless,
    /// All of it was there up to some write.
    Prefix,
}

fn damages(name: &str, file: &'static str) {
    block_on(async {
        let ctx = context();
        let story = tell(&ctx, file == LOG).await;
        let place = folder();
        let mut counts: BTreeMap<(&str, Found), u64> = BTreeMap::new();
        for number in 0..FLIPS {
            let image = &story.images[number as usize % story.images.len()];
            let mut bytes = image.files[file].clone();
            let (byte, bit) = bit(number, bytes.len());
            bytes[byte] ^= 1 << bit;
            let found = story.check(&ctx, place.path(), image, file, &bytes).await;
            let found = found.unwrap_or_else(|wrong| panic!("bit {bit} of byte {byte} of {file}: {wrong}"));
            *counts.entry(("flips", found)).or_default() += 1;
        }
        for number in 0..CUTS {
            let image = &story.images[number as usize % story.images.len()];
            let bytes = &image.files[file];
            // An empty file without a log is a new one.
            let length = 1 + (random(number) as usize % (bytes.len() - 1));
            let found = story.check(&ctx, place.path(), image, file, &bytes[..length]).await;
            let found = found.unwrap_or_else(|wrong| panic!("{file} cut after {length} bytes: {wrong}"));
            *counts.entry(("cuts", found)).or_default() += 1;
        }
        if file == LOG {
            let image = &story.images[0];
            let found = story.check(&ctx, place.path(), image, FILE, &[]).await;
            assert_eq!(found, Ok(Found::AtOpening), "an empty file beside its log");
        }
        println!("{name}: {counts:?}");
    });
}

/// All bits of the header, then any.
fn bit(number: u64, length: usize) -> (usize, u64) {
    let byte = number as usize / 8;
    if HEADER.contains(&byte) {
        return (byte, number % 8);
    }
    let dice = random(number);
    ((dice >> 8) as usize % length, dice % 8)
}

/// Writes to a store and takes its files: with a log, or after it is closed.
async fn tell(ctx: &Context, log: bool) -> Story {
    let place = folder();
    let storage = open(ctx, place.path(), Durability::Sync).await.unwrap();
    let tenants = TENANTS.map(|name| ctx.with_tenant(name.parse().unwrap()));
    let grant = storage.acquire(&tenants[0], "lease", "owner", Duration::from_secs(9)).await;
    let fence = grant.unwrap().unwrap().fence;
    let take = |names: &[&'static str], at| {
        let read = |name: &&'static str| (*name, fs::read(place.path().join(name)).unwrap());
        Image { files: names.iter().map(read).collect(), at }
    };
    let mut images = Vec::new();
    let mut history = vec![Shown::new(), shown(&storage, ctx, &fence).await.unwrap()];
    for number in 0..WRITES {
        write(&storage, &tenants, number).await.unwrap();
        history.push(shown(&storage, ctx, &fence).await.unwrap());
        if log && number >= TAKEN {
            images.push(take(&[FILE, LOG], history.len() - 1));
        }
    }
    storage.close().await.unwrap();
    if !log {
        images.push(take(&[FILE], history.len() - 1));
    }
    Story { history, images, fence }
}

async fn write(storage: &Storage, tenants: &[Context], number: u64) -> Result<()> {
    let dice = random(number);
    let ctx = &tenants[(dice % 2) as usize];
    let name = STREAMS[(dice >> 1) as usize % STREAMS.len()];
    let text = format!("{number}-{name}-").repeat([1, 10, 60, 500][(dice >> 16) as usize % 4]);
    match dice >> 8 & 15 {
        0..=9 => {
            let mut append = Append::to(name);
            append.records = vec![text.into(), "second".into()];
            storage.append(ctx, append).await.map(drop)
        }
        10..=13 => storage.put(ctx, name, text, Expect::Any).await.map(drop),
        14 => storage.delete(ctx, name, Expect::Any).await.map(drop),
        _ => storage.remove(ctx, name).await.map(drop),
    }
}

/// What a store shows, without the calls that find damage; an error where one fails in another way.
async fn shown(storage: &Storage, ctx: &Context, fence: &Fence) -> Result<Shown> {
    let mut shown = Shown::new();
    for tenant in TENANTS {
        let ctx = ctx.with_tenant(tenant.parse()?);
        let mut note = |call: &str, outcome: Result<u64>| match outcome {
            Ok(hash) => {
                shown.insert(format!("{tenant} {call}"), hash);
                Ok(())
            }
            Err(err) if err.kind() == ErrorKind::Corrupt => Ok(()),
            Err(err) => Err(err),
        };
        note("streams", storage.streams(&ctx, "", None, 9).await.map(|names| hash(&names)))?;
        for name in STREAMS {
            let records = storage.read(&ctx, name, 0, usize::MAX).await;
            let all =
                |records: Vec<Record>| records.into_iter().map(|record| record.data).collect::<Vec<_>>();
            note(name, records.map(|records| hash(&all(records))))?;
        }
        let scan = Scan { prefix: "", after: None, limit: 9 };
        let all = |values: Vec<(String, Versioned)>| {
            values.into_iter().map(|(key, found)| (key, found.version, found.value)).collect::<Vec<_>>()
        };
        note("keys", storage.scan(&ctx, scan).await.map(|values| hash(&all(values))))?;
        if tenant == TENANTS[0] {
            let mut append = Append::to("fenced");
            append.fence = Some(fence);
            let held = match storage.append(&ctx, append).await {
                Err(err) if err.kind() == ErrorKind::Conflict => Ok(false),
                held => held.map(|_| true),
            };
            note("lease", held.map(|held| hash(&held)))?;
        }
    }
    Ok(shown)
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl Story {
    /// Opens an image with one file damaged; the error is what must not be.
    async fn check(
        &self,
        ctx: &Context,
        folder: &Path,
        image: &Image,
        damaged: &str,
        bytes: &[u8],
    ) -> std::result::Result<Found, String> {
        for name in [FILE, LOG, "store.db-shm", "store.db-journal"] {
            let path = folder.join(name);
            match image.files.get(name) {
                Some(_) if name == damaged => fs::write(path, bytes).unwrap(),
                Some(whole) => fs::write(path, whole).unwrap(),
                None if path.exists() => fs::remove_file(path).unwrap(),
                None => {}
            }
        }
        let storage = match open(ctx, folder, Durability::None).await {
            Ok(storage) => storage,
            Err(err) if err.kind() == ErrorKind::Corrupt => {
                let kept = fs::read(folder.join(damaged)).unwrap() == bytes;
                return if kept {
                    Ok(Found::AtOpening)
                } else {
                    Err("a refused file was changed".to_owned())
                };
            }
            Err(err) => return Err(format!("{err:#}")),
        };
        let found = shown(&storage, ctx, &self.fence).await.map_err(|err| format!("{err:#}"))?;
        storage.close().await.or_else(|err| match err.kind() {
            ErrorKind::Corrupt => Ok(()),
            _ => Err(format!("{err:#}")),
        })?;
        let history = &self.history[..=image.at];
        let truth = |state: &Shown| found.iter().all(|(call, text)| state.get(call) == Some(text));
        match history.iter().rposition(truth) {
            None => Err("the store shows what it never had".to_owned()),
            Some(at) if at == image.at && found == history[at] => Ok(Found::Harmless),
            Some(at) if at == image.at || found.is_empty() => Ok(Found::AtReading),
            Some(_) if damaged == LOG => Ok(Found::Prefix),
            Some(at) => Err(format!("only {at} of {} writes are left", image.at)),
        }
    }
}
