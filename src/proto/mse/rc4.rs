//! RC4 as message stream encryption has it: the first 1024 bytes of the key stream are not used. It
//! is broken as a cipher, and good enough to look like noise.

use crate::proto::cipher::Cipher;

/// Key stream bytes that are not used, since they tell of the key.
const DROPPED: usize = 1024;

/// One direction.
#[derive(Clone)]
pub(crate) struct Rc4 {
    state: [u8; 256],
    i: u8,
    j: u8,
}

impl Rc4 {
    pub(crate) fn new(key: &[u8; 20]) -> Self {
        let mut state = std::array::from_fn(|n| n as u8);
        let mut j = 0u8;
        for (i, &byte) in (0..256).zip(key.iter().cycle()) {
            j = j.wrapping_add(state[i]).wrapping_add(byte);
            state.swap(i, usize::from(j));
        }
        let mut rc4 = Self { state, i: 0, j: 0 };
        (0..DROPPED).for_each(|_| _ = rc4.next());
        rc4
    }

    fn next(&mut self) -> u8 {
        self.i = self.i.wrapping_add(1);
        let a = self.state[usize::from(self.i)];
        self.j = self.j.wrapping_add(a);
        let b = std::mem::replace(&mut self.state[usize::from(self.j)], a);
        self.state[usize::from(self.i)] = b;
        self.state[usize::from(a.wrapping_add(b))]
    }
}

impl Cipher for Rc4 {
    fn apply(&mut self, bytes: &mut [u8]) {
        // The counters stay in registers, and eight bytes of the stream are applied at a time. The
        // entry that comes next is read before two others are written: as it is one of them once in
        // 256 times, a processor that had to wait for both would be a fifth slower (RESEARCH.md).
        let Self { state, i, j } = self;
        let (mut at, mut sum) = (*i, *j);
        let mut a = state[usize::from(at.wrapping_add(1))];
        let mut next = || {
            at = at.wrapping_add(1);
            sum = sum.wrapping_add(a);
            let b = state[usize::from(sum)];
            let following = at.wrapping_add(1);
            let ahead = state[usize::from(following)];
            state[usize::from(sum)] = a;
            state[usize::from(at)] = b;
            let out = state[usize::from(a.wrapping_add(b))];
            if following != sum {
                a = ahead;
            }
            out
        };
        let (chunks, rest) = bytes.as_chunks_mut::<8>();
        for chunk in chunks {
            let stream: [u8; 8] = std::array::from_fn(|_| next());
            *chunk = (u64::from_ne_bytes(*chunk) ^ u64::from_ne_bytes(stream)).to_ne_bytes();
        }
        rest.iter_mut().for_each(|byte| *byte ^= next());
        (*i, *j) = (at, sum);
    }
}

impl std::fmt::Debug for Rc4 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rc4").finish_non_exhaustive()
    }
}

/// The rest of the stream is plain after so many bytes.
#[derive(Debug)]
pub(super) struct Until {
    pub(super) rc4: Rc4,
    pub(super) left: usize,
}

impl Cipher for Until {
    fn apply(&mut self, bytes: &mut [u8]) {
        let now = bytes.len().min(self.left);
        self.rc4.apply(bytes.get_mut(..now).unwrap_or_default());
        self.left -= now;
    }
}
