//! `Line`: 64 bytes as the processor fetches them, so that every vector of codes is whole lines.

/// One cache line; what it holds is for the user of it: codes as `i8`, or numbers in little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [u8; 64]);

impl Line {
    pub(crate) const ZERO: Self = Self([0; 64]);
}

/// Lines as the bytes that they are.
#[expect(unsafe_code, reason = "lines are bytes, and the language has no safe view of them")]
pub(crate) fn bytes(lines: &[Line]) -> &[u8] {
    // SAFETY: `Line` is `repr(C)` around 64 bytes with a size of 64, so that a slice of them has no padding and any of
    // its bytes is a valid `u8`; the result borrows the slice and has its length in bytes.
    unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), size_of_val(lines)) }
}

/// Asks the processor to bring values near; says nothing about when, and changes nothing.
#[inline]
#[expect(unsafe_code, reason = "a prefetch is an intrinsic")]
pub(crate) fn prefetch<T>(values: &[T]) {
    let start = values.as_ptr().cast::<i8>();
    for at in (0..size_of_val(values)).step_by(64) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `at` is within the slice, so that the pointer is too; a prefetch reads nothing that a program sees.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(start.add(at));
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: `at` is within the slice, so that the pointer is too; the instruction has no effect but on caches.
        unsafe {
            std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) start.add(at), options(nostack, readonly, preserves_flags));
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let _ = (start, at);
    }
}
