//! Sequence numbers: 16 bits on the wire, 64 here. They are widened where a packet comes in, so
//! that nothing behind that can wrap. Timestamps and delays stay 32 bits, and are only subtracted.

/// Our first number, so far from zero that nothing before it underflows.
pub(super) const EPOCH: u64 = 1 << 32;

/// The number with these low bits that is nearest to `near`.
pub(super) fn widen(near: u64, wire: u16) -> u64 {
    let ahead = wire.wrapping_sub(near as u16).cast_signed();
    near.saturating_add_signed(i64::from(ahead))
}

/// The first number of a stream that the wire shows as `wire`.
pub(super) fn first(wire: u16) -> u64 {
    EPOCH + u64::from(wire)
}

/// Whether the time or delay `a` is before `b`, of two that are less than 2^31 apart.
pub(super) fn is_before(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() < 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_is_widened_to_the_nearest_across_every_wrap() {
        for near in [EPOCH, EPOCH + 5, EPOCH + 0xFFFF, EPOCH + 0x1_0000, EPOCH + 0x7FFF] {
            for ahead in [-0x8000i64, -300, -1, 0, 1, 300, 0x7FFF] {
                let number = near.saturating_add_signed(ahead);
                assert_eq!(widen(near, number as u16), number, "{near:#x} {ahead}");
            }
        }
        assert_eq!(first(7), EPOCH + 7);
    }

    #[test]
    fn time_is_compared_across_its_wrap() {
        assert!(is_before(u32::MAX, 0) && !is_before(0, u32::MAX));
        assert!(is_before(0, 1) && !is_before(1, 1));
        assert!(is_before(5, 5 + 0x7FFF_FFFF) && !is_before(5, 5u32.wrapping_sub(1)));
    }
}
