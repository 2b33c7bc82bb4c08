//! A graph in a file: checksummed sections on page boundaries, written beside and renamed, mapped when opened.
//!
//! The first page says what there is: magic, version, a checksum of the page, the shape of the graph, and for each
//! section where it is, how long it is and its checksum.
//! Numbers are little-endian, as the memory is that is mapped.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::{
    error::{Error, ErrorKind, Result, Retry},
    rag::vector::{
        Metric,
        backends::hnsw::graph::{Graph, NONE, Slot},
        kernel::{Column, Mapping},
    },
};

const MAGIC: [u8; 8] = *b"RFHNSW\r\n";
const VERSION: u32 = 1;
/// Sections begin on multiples of this.
const PAGE: usize = 4096;
/// Where the part of the first page begins that its checksum covers.
const COVERED: usize = 16;
/// How many numbers describe the graph, and how many sections follow.
const NUMBERS: usize = 9;
const SECTIONS: usize = 11;
/// Stands for an entry that there is not.
const NO_ENTRY: u64 = u64::MAX;

/// A section: where, how many bytes, checksum.
type Section = (u64, u64, u32);

/// Writes the graph to a file of that name, all of it or nothing.
pub(super) fn save(graph: &Graph, path: &Path) -> Result<()> {
    let fail = |err: io::Error| failure("vector.save", "cannot write the snapshot", path, err);
    if cfg!(target_endian = "big") {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "vector.save",
            "snapshots need a little-endian machine",
        ));
    }
    // Two writers would cut each other's file; the lock ends with the process, so that none is left behind.
    let lock = File::create(beside(path, "lock")).map_err(fail)?;
    if lock.try_lock().is_err() {
        return Err(Error::new(ErrorKind::Conflict, "vector.save", "somebody else is saving to this file")
            .with("path", path.display())
            .retryable(Retry::Soon));
    }
    let new = beside(path, "new");
    write(graph, &new).and_then(|()| fs::rename(&new, path)).map_err(fail)?;
    sync_folder(path).map_err(fail)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

/// Without it the new name may be lost with the power, and the old file with it.
fn sync_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

fn write(graph: &Graph, path: &Path) -> io::Result<()> {
    let little =
        |numbers: &mut dyn Iterator<Item = u32>| numbers.flat_map(u32::to_le_bytes).collect::<Vec<u8>>();
    let center = little(&mut graph.coder.center.iter().map(|x| x.to_bits()));
    let free = little(&mut graph.free.iter().copied());
    let sections: [&[u8]; SECTIONS] = [
        &center,
        &free,
        graph.keys.as_bytes(),
        graph.live.as_bytes(),
        graph.levels.as_bytes(),
        graph.upper_at.as_bytes(),
        graph.upper.as_bytes(),
        graph.base.as_bytes(),
        graph.heads.as_bytes(),
        graph.codes.as_bytes(),
        graph.numbers.as_bytes(),
    ];
    let mut file = File::create(path)?;
    file.write_all(&first_page(graph, &sections))?;
    for bytes in sections {
        file.write_all(bytes)?;
        let padding = bytes.len().next_multiple_of(PAGE) - bytes.len();
        file.write_all([0; PAGE].get(..padding).unwrap_or_default())?;
    }
    file.sync_all()
}

fn first_page(graph: &Graph, sections: &[&[u8]; SECTIONS]) -> Vec<u8> {
    let metric = match graph.metric {
        Metric::Cosine => 0,
        Metric::Dot => 1,
        Metric::Euclidean => 2,
    };
    let entry = graph.entry.map_or(NO_ENTRY, u64::from);
    let sizes = [graph.dimension, graph.m, graph.size(), graph.centered, graph.dead].map(|size| size as u64);
    let [dimension, m, size, centered, dead] = sizes;
    let mut covered = Vec::with_capacity(PAGE);
    let file_size = sections.iter().map(|bytes| bytes.len().next_multiple_of(PAGE)).sum::<usize>() + PAGE;
    for number in [dimension, metric, m, graph.seed, size, entry, centered, dead, file_size as u64] {
        covered.extend(number.to_le_bytes());
    }
    let mut at = PAGE;
    for bytes in sections {
        covered.extend((at as u64).to_le_bytes());
        covered.extend((bytes.len() as u64).to_le_bytes());
        covered.extend(crc32fast::hash(bytes).to_le_bytes());
        at += bytes.len().next_multiple_of(PAGE);
    }
    covered.resize(PAGE - COVERED, 0);
    let mut page = Vec::with_capacity(PAGE);
    page.extend(MAGIC);
    page.extend(VERSION.to_le_bytes());
    page.extend(crc32fast::hash(&covered).to_le_bytes());
    page.extend(covered);
    page
}

/// Maps a graph from a file and checks all of it.
pub(super) fn open(path: &Path) -> Result<Graph> {
    let fail = |err: io::Error| failure("vector.open", "cannot read the snapshot", path, err);
    if cfg!(target_endian = "big") {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "vector.open",
            "snapshots need a little-endian machine",
        ));
    }
    let file = File::open(path).map_err(fail)?;
    if file.metadata().map_err(fail)?.len() < PAGE as u64 {
        return Err(corrupt("too short").with("path", path.display()));
    }
    let mapping = Mapping::open(&file).map_err(fail)?;
    read(&mapping).map_err(|err| err.with("path", path.display()))
}

fn failure(operation: &'static str, message: &'static str, path: &Path, err: io::Error) -> Error {
    let kind = match err.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, operation, message).with("path", path.display()).caused_by(err)
}

fn corrupt(problem: &'static str) -> Error {
    let message = "the snapshot is damaged; build the index again from what is stored";
    Error::new(ErrorKind::Corrupt, "vector.open", message).with("problem", problem)
}

/// Reads numbers from the first page one by one.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn u32(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*number))
    }

    fn u64(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*number))
    }
}

fn read(mapping: &Mapping) -> Result<Graph> {
    let (page, _) = mapping.bytes().split_at_checked(PAGE).ok_or_else(|| corrupt("too short"))?;
    let (first, covered) = page.split_at_checked(COVERED).ok_or_else(|| corrupt("too short"))?;
    let mut first = Reader(first);
    if first.u64() != Some(u64::from_le_bytes(MAGIC)) {
        return Err(corrupt("not a snapshot"));
    }
    let version = first.u32();
    if version != Some(VERSION) {
        let message = "the snapshot was written by another version; build the index again";
        return Err(Error::new(ErrorKind::Unsupported, "vector.open", message)
            .with("expected", VERSION)
            .with("got", version.unwrap_or_default()));
    }
    if first.u32() != Some(crc32fast::hash(covered)) {
        return Err(corrupt("checksum of the first page"));
    }
    let mut covered = Reader(covered);
    let mut numbers = [0_u64; NUMBERS];
    for number in &mut numbers {
        *number = covered.u64().ok_or_else(|| corrupt("first page"))?;
    }
    let mut sections: [Section; SECTIONS] = [(0, 0, 0); SECTIONS];
    for section in &mut sections {
        let (at, length, sum) = (covered.u64(), covered.u64(), covered.u32());
        *section = at
            .zip(length)
            .zip(sum)
            .map(|((at, length), sum)| (at, length, sum))
            .ok_or_else(|| corrupt("first page"))?;
    }
    build(mapping, numbers, sections)
}

fn build(mapping: &Mapping, numbers: [u64; NUMBERS], sections: [Section; SECTIONS]) -> Result<Graph> {
    let [dimension, metric, m, seed, size, entry, centered, dead, file_size] = numbers;
    if mapping.bytes().len() as u64 != file_size {
        return Err(corrupt("length of the file"));
    }
    let metric = match metric {
        0 => Metric::Cosine,
        1 => Metric::Dot,
        2 => Metric::Euclidean,
        _ => return Err(corrupt("metric")),
    };
    let [center, free, keys, live, levels, upper_at, upper, base, heads, codes, vectors] =
        sections.map(|section| section_of(mapping, section));
    let mut graph = Graph::new(dimension as usize, metric, m as usize, seed);
    graph.coder.center = center?.u32s()?.iter().copied().map(f32::from_bits).collect();
    graph.free = free?.u32s()?.to_vec();
    (graph.keys, graph.live, graph.levels) = (keys?.column()?, live?.column()?, levels?.column()?);
    (graph.upper_at, graph.upper, graph.base) = (upper_at?.column()?, upper?.column()?, base?.column()?);
    (graph.heads, graph.codes, graph.numbers) = (heads?.column()?, codes?.column()?, vectors?.column()?);
    graph.entry = if entry == NO_ENTRY { None } else { Some(entry as Slot) };
    (graph.centered, graph.dead) = (centered as usize, dead as usize);
    check(&graph, size as usize)?;
    let slots = graph.all().filter(|slot| graph.is_live(*slot)).map(|slot| (graph.key(slot), slot));
    let slots: HashMap<u64, Slot> = slots.collect();
    if slots.len() + graph.dead + graph.free.len() != graph.size() {
        return Err(corrupt("keys"));
    }
    graph.slots = slots;
    Ok(graph)
}

/// A section whose checksum holds.
struct Checked<'a> {
    mapping: &'a Mapping,
    at: usize,
    length: usize,
}

fn section_of(mapping: &Mapping, (at, length, sum): Section) -> Result<Checked<'_>> {
    let (at, length) = (at as usize, length as usize);
    let bytes = at.checked_add(length).and_then(|end| mapping.bytes().get(at..end));
    if bytes.map(crc32fast::hash) != Some(sum) {
        return Err(corrupt("checksum of a section"));
    }
    Ok(Checked { mapping, at, length })
}

impl Checked<'_> {
    fn column<T: crate::rag::vector::kernel::Plain>(self) -> Result<Column<T>> {
        let whole = self.length.is_multiple_of(size_of::<T>());
        let column = Column::mapped(self.mapping, self.at, self.length / size_of::<T>());
        column.filter(|_| whole).ok_or_else(|| corrupt("a section"))
    }

    fn u32s(self) -> Result<Column<u32>> {
        self.column()
    }
}

/// A file whose checksums hold was written by this code; this finds what such a file could still have wrong.
fn check(graph: &Graph, size: usize) -> Result<()> {
    let fits = graph.keys.len() == size
        && graph.live.len() == size
        && graph.levels.len() == size
        && graph.upper_at.len() == size
        && graph.coder.center.len() == graph.dimension
        && graph.base.len() == size * graph.m * 2
        && graph.heads.len() == size * graph.coder.head_lines
        && graph.codes.len() == size * graph.coder.code_lines
        && graph.numbers.len() == size * graph.dimension;
    if !fits {
        return Err(corrupt("length of a section"));
    }
    let inside = |slot: &Slot| (*slot as usize) < size;
    let links = graph.base.iter().chain(graph.upper.iter()).all(|link| *link == NONE || inside(link));
    let free = graph.free.iter().all(|slot| inside(slot) && !graph.is_live(*slot));
    let mut upper = 0;
    let levels = graph.levels.iter().zip(graph.upper_at.iter()).all(|(level, at)| {
        let right = *at as usize == upper;
        upper += usize::from(*level) * graph.m;
        right
    });
    if links && free && levels && upper == graph.upper.len() && graph.entry.as_ref().is_none_or(inside) {
        return Ok(());
    }
    Err(corrupt("links"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rag::vector::backends::hnsw::near::Scratch;

    fn graph() -> Graph {
        let mut random = fastrand::Rng::with_seed(3);
        let mut graph = Graph::new(5, Metric::Euclidean, 4, 1);
        let items: Vec<(u64, Vec<f32>)> =
            (0..200).map(|key| (key * 7, (0..5).map(|_| random.f32()).collect())).collect();
        graph.settle(&items).unwrap();
        let mut scratch = Scratch::default();
        for (key, vector) in items {
            graph.insert(key, &vector, 16, &mut scratch).unwrap();
        }
        graph.delete(&[0, 7, 70], 16, &mut scratch).unwrap();
        graph
    }

    #[test]
    fn a_graph_comes_back_as_it_was_and_may_be_changed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, before) = (folder.path().join("index"), graph());
        save(&before, &path).unwrap();
        let mut after = open(&path).unwrap();
        assert_eq!((after.count(), after.dead, after.entry), (197, 3, before.entry));
        assert_eq!(before.keys[..], after.keys[..]);
        assert_eq!(before.base[..], after.base[..]);
        assert_eq!(before.codes[..], after.codes[..]);
        let mut scratch = Scratch::default();
        after.insert(9_999, &[0.5; 5], 16, &mut scratch).unwrap();
        save(&after, &path).unwrap();
        assert_eq!(open(&path).unwrap().count(), 198);
        let mut names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["index", "index.lock"]);
    }

    #[test]
    fn an_empty_graph_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        save(&Graph::new(3, Metric::Dot, 16, 0), &folder.path().join("index")).unwrap();
        assert_eq!(open(&folder.path().join("index")).unwrap().count(), 0);
    }

    #[test]
    fn a_snapshot_cut_anywhere_or_flipped_anywhere_is_corrupt() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        save(&graph(), &path).unwrap();
        let whole = fs::read(&path).unwrap();
        let kind = |bytes: &[u8]| {
            let path = folder.path().join("damaged");
            fs::write(&path, bytes).unwrap();
            open(&path).err().map(|err| err.kind())
        };
        assert_eq!(kind(&whole), None);
        for length in (0..whole.len()).step_by(997) {
            assert_eq!(kind(&whole[..length]), Some(ErrorKind::Corrupt), "cut at {length}");
        }
        let (mut at, mut flipped) = (0, whole.clone());
        let header = Reader(&whole[COVERED + NUMBERS * 8..]);
        let used: Vec<std::ops::Range<usize>> = sections_of(header);
        while at < whole.len() {
            // Padding between sections is nobody's: a flip there changes nothing.
            if at < PAGE || used.iter().any(|range| range.contains(&at)) {
                flipped[at] ^= 0x10;
                let expected =
                    if (8..12).contains(&at) { ErrorKind::Unsupported } else { ErrorKind::Corrupt };
                assert_eq!(kind(&flipped), Some(expected), "flipped at {at}");
                flipped[at] ^= 0x10;
            }
            at += if at < 16 { 1 } else { 211 };
        }
    }

    fn sections_of(mut header: Reader<'_>) -> Vec<std::ops::Range<usize>> {
        let mut section = || {
            let (at, length) = (header.u64().unwrap() as usize, header.u64().unwrap() as usize);
            header.u32().unwrap();
            at..at + length
        };
        (0..SECTIONS).map(|_| section()).collect()
    }

    #[test]
    fn a_missing_file_is_not_found_and_a_second_writer_conflicts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        assert_eq!(open(&path).unwrap_err().kind(), ErrorKind::NotFound);
        let lock = File::create(beside(&path, "lock")).unwrap();
        lock.lock().unwrap();
        assert_eq!(save(&graph(), &path).unwrap_err().kind(), ErrorKind::Conflict);
        drop(lock);
        save(&graph(), &path).unwrap();
    }
}
