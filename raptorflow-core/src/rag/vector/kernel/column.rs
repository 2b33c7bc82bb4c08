//! `Column`: numbers one after the other, in memory of our own or in a file that is mapped.

use std::{fmt, fs::File, marker::PhantomData, ops::Deref, sync::Arc};

use memmap2::{Mmap, MmapMut, MmapOptions};

use crate::{
    error::{Error, ErrorKind, Result},
    rag::vector::kernel::Line,
};

/// From this size on the system is asked for large pages: a walk jumps about, and each jump needs the page's address.
const LARGE: usize = 4 << 20;
/// The smallest memory of a column.
const SMALLEST: usize = 4096;

/// What a column may hold: any bytes are a valid value, and a value has no padding.
///
/// # Safety
/// The type must be inhabited by every pattern of its bytes, have no padding, no drop, and an alignment of at most 64.
#[expect(unsafe_code, reason = "what a type promises about its bytes cannot be checked")]
pub(crate) unsafe trait Plain: Copy + Send + Sync + 'static {}

// SAFETY: every pattern of bytes is a number, without padding.
#[expect(unsafe_code, reason = "see `Plain`")]
unsafe impl Plain for u8 {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "see `Plain`")]
unsafe impl Plain for u32 {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "see `Plain`")]
unsafe impl Plain for u64 {}
// SAFETY: as above; signaling NaNs are values like others.
#[expect(unsafe_code, reason = "see `Plain`")]
unsafe impl Plain for f32 {}
// SAFETY: 64 bytes in `repr(C)`, aligned to and sized 64, thus without padding.
#[expect(unsafe_code, reason = "see `Plain`")]
unsafe impl Plain for Line {}

/// A file in memory, to be read.
#[derive(Clone, Debug)]
pub(crate) struct Mapping(Arc<Mmap>);

impl Mapping {
    /// Maps a whole file.
    ///
    /// The file must not be changed in place while it is mapped: ours are written beside and renamed, and a process
    /// that cuts a mapped file ends processes that read it, whatever library they use.
    pub(crate) fn open(file: &File) -> std::io::Result<Self> {
        #[expect(unsafe_code, reason = "others may change a mapped file")]
        // SAFETY: snapshots are immutable: this library replaces them by renaming, which leaves the mapped file as it is.
        let map = unsafe { MmapOptions::new().map(file)? };
        Ok(Self(Arc::new(map)))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

enum Source {
    Own(MmapMut),
    File { mapping: Mapping, start: usize },
}

/// Values one after the other; the memory of its own is zeroed, grows by doubling and is aligned to a page.
pub(crate) struct Column<T> {
    source: Option<Source>,
    len: usize,
    values: PhantomData<T>,
}

impl<T> Default for Column<T> {
    fn default() -> Self {
        Self { source: None, len: 0, values: PhantomData }
    }
}

impl<T: Plain> fmt::Debug for Column<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Column").field("len", &self.len).finish_non_exhaustive()
    }
}

impl<T: Plain> Column<T> {
    /// `len` values of a mapped file from byte `start` on; `None` where it has them not, or not aligned.
    pub(crate) fn mapped(mapping: &Mapping, start: usize, len: usize) -> Option<Self> {
        let end = start.checked_add(len.checked_mul(size_of::<T>())?)?;
        let bytes = mapping.bytes().get(start..end)?;
        let aligned = bytes.as_ptr().cast::<T>().is_aligned();
        let source = Some(Source::File { mapping: mapping.clone(), start });
        aligned.then_some(Self { source, len, values: PhantomData })
    }

    /// The bytes of all values.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.memory().get(..self.len * size_of::<T>()).unwrap_or_default()
    }

    fn memory(&self) -> &[u8] {
        match &self.source {
            None => &[],
            Some(Source::Own(memory)) => memory,
            Some(Source::File { mapping, start }) => mapping.bytes().get(*start..).unwrap_or_default(),
        }
    }

    /// How many bytes of memory it has of its own.
    pub(crate) fn footprint(&self) -> usize {
        if matches!(self.source, Some(Source::Own(_))) { self.len * size_of::<T>() } else { 0 }
    }

    /// Makes room for more values, in memory of its own.
    ///
    /// # Errors
    /// `Unavailable` when the system gives no memory.
    pub(crate) fn reserve(&mut self, more: usize) -> Result<()> {
        let fail = || Error::new(ErrorKind::Unavailable, "vector.put", "the system gives no memory");
        let size =
            self.len.checked_add(more).and_then(|len| len.checked_mul(size_of::<T>())).ok_or_else(fail)?;
        let capacity = if let Some(Source::Own(memory)) = &self.source { memory.len() } else { 0 };
        if size <= capacity {
            return Ok(());
        }
        let size = size.max(capacity.saturating_mul(2)).max(SMALLEST);
        let mut memory = MmapMut::map_anon(size).map_err(|err| fail().with("bytes", size).caused_by(err))?;
        #[cfg(target_os = "linux")]
        if size >= LARGE {
            // A system without large pages is slower and no less right.
            let _ = memory.advise(memmap2::Advice::HugePage);
        }
        let old = self.as_bytes();
        if let Some(start) = memory.get_mut(..old.len()) {
            start.copy_from_slice(old);
        }
        self.source = Some(Source::Own(memory));
        Ok(())
    }

    /// The values to change, copied into memory of its own where they were a file's.
    pub(crate) fn values_mut(&mut self) -> Result<&mut [T]> {
        if matches!(self.source, Some(Source::File { .. })) {
            self.reserve(0)?;
        }
        let Some(Source::Own(memory)) = &mut self.source else { return Ok(&mut []) };
        debug_assert!(self.len * size_of::<T>() <= memory.len());
        #[expect(unsafe_code, reason = "a view of bytes as values")]
        // SAFETY: the memory is aligned to a page and has at least `len` values, as `reserve` and `resize` keep it; `T` is
        // `Plain`, so that its bytes are values; the result borrows `self`, so that nobody else reaches the memory.
        Ok(unsafe { std::slice::from_raw_parts_mut(memory.as_mut_ptr().cast(), self.len) })
    }

    /// Appends `more` times the same value.
    pub(crate) fn grow(&mut self, more: usize, value: T) -> Result<()> {
        let start = self.len;
        self.reserve(more)?;
        self.len += more;
        if let Some(place) = self.values_mut()?.get_mut(start..) {
            place.fill(value);
        }
        Ok(())
    }
}

impl<T: Plain> Deref for Column<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        let start = match &self.source {
            None => return &[],
            Some(Source::Own(memory)) => memory.as_ptr(),
            Some(Source::File { mapping, start }) => mapping.0.as_ptr().wrapping_add(*start),
        };
        #[expect(unsafe_code, reason = "a view of bytes as values")]
        // SAFETY: both sources have `len` aligned values from `start` on: `reserve` makes room before `len` grows, and
        // `mapped` checks the file, which is never changed in place; `T` is `Plain`; the result borrows `self`.
        unsafe {
            std::slice::from_raw_parts(start.cast(), self.len)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_grows_and_keeps_its_values() {
        let mut column = Column::<u32>::default();
        assert!(column.is_empty());
        for round in 0..2_000_u32 {
            column.grow(2, round).unwrap();
            column.grow(1, 7).unwrap();
        }
        assert_eq!(column.len(), 6_000);
        assert_eq!(column[5_997..], [1_999, 1_999, 7]);
        column.values_mut().unwrap()[0] = 9;
        assert_eq!(column[..3], [9, 0, 7]);
        assert!(column.as_ptr().cast::<Line>().is_aligned());
    }

    #[test]
    fn a_mapped_column_is_copied_when_it_is_changed() {
        let path = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(path.path(), 5_u64.to_le_bytes().repeat(100)).unwrap();
        let mapping = Mapping::open(path.as_file()).unwrap();
        let mut column = Column::<u64>::mapped(&mapping, 80, 90).unwrap();
        assert_eq!((column.len(), column.footprint()), (90, 0));
        column.values_mut().unwrap()[89] = 6;
        column.grow(1, 7).unwrap();
        assert_eq!(column[88..], [5, 6, 7]);
        assert_eq!(std::fs::read(path.path()).unwrap(), 5_u64.to_le_bytes().repeat(100));
        for (start, len) in [(80, 91), (4, 1), (801, 0), (usize::MAX, 2), (0, usize::MAX)] {
            assert!(Column::<u64>::mapped(&mapping, start, len).is_none(), "{start} {len}");
        }
    }
}
