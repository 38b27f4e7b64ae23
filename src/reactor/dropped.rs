//! Datagrams that came while the receive buffer of their socket was full: the system drops them,
//! and counts them for each socket. Linux tells of it in its table of sockets, where a socket is
//! known by its inode. (The option that tells it of one socket alone, `SO_MEMINFO`, is not to be
//! had without `unsafe`, and where the kernel has no `udp_diag` netlink does not tell it either.)

/// Bytes of a table that are looked through: some ten thousand sockets, and a few milliseconds.
#[cfg(any(target_os = "linux", target_os = "android"))]
const MAX_TABLE: u64 = 1 << 20;

/// How many datagrams were dropped at a socket of IPv6 or of IPv4; `None`: the system does not tell
/// it. It reads a table of the system, which no disk holds up.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn look(socket: impl std::os::fd::AsFd, is_v6: bool) -> Option<u64> {
    use std::io::{BufReader, Read};
    let inode = rustix::fs::fstat(socket).ok()?.st_ino;
    let table = if is_v6 { "/proc/net/udp6" } else { "/proc/net/udp" };
    let table = std::fs::File::open(table).ok()?;
    find(BufReader::new(table.take(MAX_TABLE)), inode)
}

/// The line of the socket with `inode`: the tenth word is that, the last one what was dropped.
#[cfg(any(target_os = "linux", target_os = "android", test))]
fn find(table: impl std::io::BufRead, inode: u64) -> Option<u64> {
    let mut lines = table.lines().skip(1).map_while(Result::ok);
    lines.find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let is_it = words.nth(9)?.parse() == Ok(inode);
        words.nth(2).filter(|_| is_it)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of Linux 6.18, with spaces taken out; the last two lines are none of its own.
    const TABLE: &str = "\
 sl local_address rem_address st tx_queue rx_queue tr tm->when retrnsmt uid timeout inode ref
 5865: 0100007F:CB62 00000000:0000 07 00000000:00001B00 00:00000000 00000000 0 0 12979 2 0041 97
 7393: 00000000:D15A 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 12980 2 00a5 \
 4294967295
 7394: 00000000:D15B 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 12981 2
 broken
";

    #[test]
    fn drops_are_those_of_the_socket_with_the_inode() {
        let find = |inode| find(TABLE.as_bytes(), inode);
        assert_eq!(find(12979), Some(97));
        assert_eq!(find(12980), Some(u64::from(u32::MAX)));
        // An old kernel does not tell it; there is no such socket; 0 is in other columns.
        assert_eq!([12981, 12978, 0].map(find), [None; 3]);
    }
}
