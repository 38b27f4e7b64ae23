//! What files are called on disk: as the user says, and what is told of names that had to be
//! changed.

use std::path::PathBuf;

use cratetorrent::{AddError, Alert};

use super::{Problem, printable};

/// A file's index, and its path below the download folder.
pub type Renames = Vec<(usize, PathBuf)>;

/// The values of `--name INDEX=PATH`.
pub fn parse(values: Vec<String>) -> Result<Renames, Problem> {
    let rename = |value: String| {
        let wrong =
            || Problem::usage(format!("--name: {value:?} is not INDEX=PATH, as 0=folder/file.txt"));
        let (index, path) = value.split_once('=').ok_or_else(wrong)?;
        Ok((index.trim().parse().map_err(|_| wrong())?, PathBuf::from(path)))
    };
    values.into_iter().map(rename).collect()
}

/// Why a torrent was not added: a name that the user gave is misuse, all else a failure.
pub fn refused(e: AddError) -> Problem {
    match e {
        AddError::Rename { .. } => Problem::usage(format!("--name: {e}")),
        e => Problem::of(e),
    }
}

/// A sentence, if the alert is of names.
pub fn told(alert: &Alert) -> Option<String> {
    let Alert::NamesChanged { files, first, path, .. } = alert else { return None };
    let path = printable(&path.to_string_lossy());
    let others = match files {
        1 => "; --name gives it another".to_owned(),
        n => format!(
            ", and {} more have other names, too; inspect lists them, and --name gives them others",
            n - 1
        ),
    };
    Some(format!("file {first} is stored as {path}{others}"))
}
