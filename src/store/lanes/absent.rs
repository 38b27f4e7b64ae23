//! The instructions of x86-64 elsewhere: types that cannot be made, so that the code around has one
//! shape everywhere.

use super::WIDTH;

/// No machine of this kind has them.
#[derive(Clone, Copy, Debug)]
pub(super) enum ShaNi {}

/// No machine of this kind has them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Avx512 {}

impl ShaNi {
    pub(super) fn detect() -> Option<Self> {
        None
    }

    pub(super) fn compress<const N: usize>(self, _: &mut [[u32; 5]; N], _: [&[[u8; 64]]; N]) {
        match self {}
    }

    pub(super) fn compress_sha256<const N: usize>(
        self,
        _: &mut [[u32; 8]; N],
        _: [&[[u8; 64]]; N],
    ) {
        match self {}
    }
}

impl Avx512 {
    pub(super) fn detect() -> Option<Self> {
        None
    }

    pub(super) fn compress(self, _: &mut [[u32; 5]; WIDTH], _: [&[[u8; 64]]; WIDTH]) {
        match self {}
    }

    pub(super) fn compress_sha256(self, _: &mut [[u32; 8]; WIDTH], _: [&[[u8; 64]]; WIDTH]) {
        match self {}
    }
}
