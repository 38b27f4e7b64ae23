//! What the fuzz targets check. Each function takes arbitrary bytes and panics if a promise is
//! broken; the library's own tests run the same functions over the seeds and over whatever was
//! found once.

pub mod dht;
pub mod exchange;
pub mod mse;
pub mod port_mapping;
pub mod proxy;
pub mod session;
pub mod tracker;
pub mod utp;
pub mod web_seed;
pub mod wire;
