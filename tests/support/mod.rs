//! What the process tests share: torrents made by hand, a plain seeder with bad manners on request,
//! and processes that never outlive their test. It uses nothing of the library, so that an error
//! there cannot hide itself here.
#![allow(dead_code, unreachable_pub)] // each test target uses a part of it

#[cfg(feature = "tls")]
pub mod authority;
pub mod bencode;
pub mod clock;
pub mod download;
pub mod gate;
pub mod network;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod seeder;
pub mod system;
#[cfg(unix)]
pub mod terminal;
pub mod torrent;
pub mod tracker;
