//! What trackers say and web seeds fail with, for the user: when it is news, and nothing else.

use std::collections::BTreeMap;

use cratetorrent::Alert;

use super::{printable, progress::Progress};

/// What was told of each tracker, so that it is not told again and again.
#[derive(Default)]
pub struct Trackers {
    failures: BTreeMap<String, String>,
    warnings: BTreeMap<String, String>,
}

impl Trackers {
    /// Tells what is worth it of an alert that is a tracker's.
    pub fn tell(&mut self, alert: &Alert, progress: &Progress) {
        // Foreign words: they may not write all over the terminal.
        match alert {
            Alert::TrackerFailed { tracker, error, .. } => {
                let error = printable(&error.text);
                if self.failures.get(tracker) != Some(&error) {
                    progress.say(&format!("tracker {}: {error}", printable(tracker)));
                    self.failures.insert(tracker.clone(), error);
                }
            }
            Alert::WebSeedFailed { web_seed, error, .. } => {
                let (shown, text) = (printable(web_seed), printable(&error.text));
                let text = match error.file {
                    Some(file) => format!("web seed {shown}, file {file}: {text}"),
                    None => format!("web seed {shown}: {text}"),
                };
                if self.warnings.get(web_seed) != Some(&text) {
                    progress.say(&text);
                    self.warnings.insert(web_seed.clone(), text);
                }
            }
            Alert::TrackerWarning { tracker, message, .. } => {
                let message = printable(message);
                if self.warnings.get(tracker) != Some(&message) {
                    progress.say(&format!("tracker {} warns: {message}", printable(tracker)));
                    self.warnings.insert(tracker.clone(), message);
                }
            }
            Alert::TrackerReplied { tracker, peers, .. } => {
                log::info!("tracker {tracker} named {peers} peers");
                self.failures.remove(tracker);
            }
            _ => {}
        }
    }

    /// Those that fail, and why.
    pub fn failures(&self) -> impl Iterator<Item = String> {
        self.failures.iter().map(|(tracker, error)| format!("{}: {error}", printable(tracker)))
    }
}
