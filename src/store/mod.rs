//! Stand-in until the store lands.
use std::{sync::Arc, time::Duration};

use crate::base::job::{Done, Job};

pub trait Disk: Send + Sync + std::fmt::Debug {}

#[derive(Debug)]
pub struct RealDisk;
impl RealDisk {
    pub fn new(_max_open_files: usize) -> Self {
        Self
    }
}
impl Disk for RealDisk {}

#[derive(Debug)]
pub struct Pool;
impl Pool {
    pub fn new(
        _threads: usize,
        _lane_wait: Duration,
        _disk: Arc<dyn Disk>,
        _wake: Box<dyn Fn() + Send + Sync>,
    ) -> std::io::Result<Self> {
        Ok(Self)
    }
    pub fn submit(&self, _job: Job) {}
    pub fn drain(&self, _out: &mut Vec<Done>) {}
}
