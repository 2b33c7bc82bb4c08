//! `Level`: which instructions this processor has.

/// How wide the vectors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Plain,
}

/// Instructions that this processor has; there is no other way to make one, which is what makes the calls sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level {
    pub(super) floats: Width,
    pub(super) bytes: Width,
}

impl Level {
    /// The best of this processor.
    pub(crate) fn detect() -> Self {
        Self::supported().into_iter().next().unwrap_or(Self { floats: Width::Plain, bytes: Width::Plain })
    }

    /// Every level that this processor can run, the best first.
    pub(crate) fn supported() -> Vec<Self> {
        let mut levels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let avx512 = avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            if avx512 && is_x86_feature_detected!("avx512vnni") {
                levels.push(Self { floats: Width::Avx512, bytes: Width::Avx512 });
            }
            if avx512 {
                levels.push(Self { floats: Width::Avx512, bytes: Width::Avx2 });
            }
            if avx2 {
                levels.push(Self { floats: Width::Avx2, bytes: Width::Avx2 });
            }
        }
        levels.push(Self { floats: Width::Plain, bytes: Width::Plain });
        levels
    }

    /// How many columns of weights lie together in a panel of floats.
    pub(crate) fn columns(self) -> usize {
        columns(self.floats)
    }

    /// How many columns of weights lie together in a panel of bytes.
    pub(crate) fn byte_columns(self) -> usize {
        columns(self.bytes)
    }

    /// How many neighbors of a column lie together in a panel of bytes: what one instruction adds up.
    pub(crate) fn byte_group(self) -> usize {
        match self.bytes {
            #[cfg(target_arch = "x86_64")]
            Width::Avx512 => 4,
            #[cfg(target_arch = "x86_64")]
            Width::Avx2 => 2,
            Width::Plain => 2,
        }
    }
}

fn columns(width: Width) -> usize {
    match width {
        #[cfg(target_arch = "x86_64")]
        Width::Avx512 => 32,
        #[cfg(target_arch = "x86_64")]
        Width::Avx2 => 16,
        Width::Plain => 16,
    }
}
