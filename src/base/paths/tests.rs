//! Names that torrents should not have, a test a kind of attack.

use std::path::{Component, Path};

use proptest::prelude::*;

use super::*;

fn file(path: &[&str]) -> FileEntry {
    FileEntry { path: path.iter().map(|&p| p.into()).collect(), len: 1, offset: 0, kind: FileKind::Regular }
}

/// The paths below a torrent called `t`.
fn below(files: &[&[&str]]) -> Vec<String> {
    let files: Vec<_> = files.iter().map(|path| file(path)).collect();
    let paths = safe_paths("t", false, &files).unwrap();
    paths.iter().map(|p| p.strip_prefix("t").unwrap().to_str().unwrap().to_owned()).collect()
}

fn one(part: &str) -> String {
    below(&[&[part]]).remove(0)
}

fn single(name: &str) -> String {
    safe_paths(name, true, &[file(&[])]).unwrap()[0].to_str().unwrap().to_owned()
}

fn assert_inside(path: &Path) {
    assert!(path.components().all(|c| matches!(c, Component::Normal(_))), "{path:?}");
    assert!(path.components().count() >= 1 && path.components().count() <= MAX_DEPTH, "{path:?}");
    assert!(path.components().all(|c| c.as_os_str().len() <= 255), "{path:?}");
    assert!(path.as_os_str().len() <= MAX_PATH + 255, "{path:?}");
}

#[test]
fn ordinary_names_stay() {
    for name in ["a.txt", ".hidden", "Ünïcödé 日本語.mkv", "a  b", "no-extension", "a.tar.gz", "console.log", "COM10", "com"]
    {
        assert_eq!(one(name), name);
        assert_eq!(single(name), name);
    }
    assert_eq!(below(&[&["x", "y"], &["x", "z"]]), ["x/y", "x/z"]);
}

#[test]
fn dots_and_empty_names_lead_nowhere() {
    for name in ["", ".", "..", "...", ". .", " .. ", ".. ", "   ", "\t", "\u{3000}"] {
        assert!(one(name).trim_matches('_').is_empty(), "{name:?} became {:?}", one(name));
        assert!(single(name).trim_matches('_').is_empty(), "{name:?}");
    }
    assert_eq!(below(&[&["..", "..", "etc", "passwd"]]), ["_/_/etc/passwd"]);
    assert_eq!(below(&[&["a", "", ".", "b"]]), ["a/_/_/b"]);
    assert_eq!(safe_paths("..", false, &[file(&["x"])]).unwrap(), [Path::new("_/x")]);
    assert_eq!(below(&[&[]]), ["_"]);
}

#[test]
fn absolute_names_and_separators_stay_inside() {
    assert_eq!(one("/etc/passwd"), "_etc_passwd");
    assert_eq!(one("../../x"), ".._.._x");
    assert_eq!(one("..\\..\\x"), ".._.._x");
    assert_eq!(one("\\\\server\\share"), "__server_share");
    assert_eq!(single("/"), "_");
    if cfg!(windows) {
        assert_eq!(one("C:\\x"), "C__x");
        assert_eq!(one("file:stream"), "file_stream");
    }
}

#[test]
fn control_characters_and_nul_are_replaced() {
    assert_eq!(one("a\0b\nc\x1bd\x7fe\u{85}f"), "a_b_c_d_e_f");
    assert_eq!(one("a\u{2028}b\u{feff}"), "a_b_");
}

#[test]
fn text_direction_cannot_disguise_an_extension() {
    for c in ['\u{202a}', '\u{202b}', '\u{202d}', '\u{202e}', '\u{2066}', '\u{2067}', '\u{2069}', '\u{200f}', '\u{61c}'] {
        assert_eq!(one(&format!("photo{c}gpj.exe")), "photo_gpj.exe");
    }
}

#[test]
fn reserved_windows_names_are_marked() {
    for name in ["CON", "nul", "Aux.txt", "COM1", "lpt9.tar.gz", "COM¹", "NUL .txt", "CONIN$", "prn."] {
        assert!(one(name).starts_with('_'), "{name} became {}", one(name));
    }
    assert_eq!(below(&[&["con", "x"]]), ["_con/x"]);
}

#[test]
fn space_around_names_and_dots_behind_them_go() {
    assert_eq!(one("  a b.txt  "), "a b.txt");
    assert_eq!(one("name. . ."), "name");
    assert_eq!(below(&[&["dir.", "x"], &["dir", "x"]]), ["dir/x", "dir/x.1"]);
}

#[test]
fn long_names_are_cut_between_characters_and_keep_their_extension() {
    let long = one(&format!("{}.mkv", "x".repeat(5000)));
    assert_eq!((long.len(), &long[long.len() - 5..]), (MAX_COMPONENT, "x.mkv"));
    let wide = one(&format!("{}.mkv", "語".repeat(200)));
    assert!(wide.len() <= MAX_COMPONENT && wide.len() > MAX_COMPONENT - 3 && wide.ends_with("語.mkv"));
    assert_eq!(one(&format!("a.{}", "e".repeat(5000))).len(), MAX_COMPONENT);
    // What is the same after cutting is told apart again, within the limit.
    let name = "x".repeat(300);
    let paths = below(&[&[&name], &[&name]]);
    assert!(paths[0] != paths[1] && paths.iter().all(|p| p.len() <= MAX_COMPONENT));
}

#[test]
fn deep_trees_collapse() {
    let deep: Vec<_> = (0..1000).map(|_| "d").chain(["file.txt"]).collect();
    let deeper: Vec<_> = (0..2000).map(|_| "d").chain(["file.txt"]).collect();
    let files = [file(&deep), file(&deeper)];
    let paths = safe_paths("t", false, &files).unwrap();
    assert_eq!(paths[0].components().count(), MAX_DEPTH);
    assert!(paths[0].ends_with("d/file.txt") && paths[1].ends_with("d/file.1.txt"));

    let folder = "f".repeat(200);
    let long: Vec<_> = (0..50).map(|_| &*folder).chain(["file.txt"]).collect();
    let path = &safe_paths("t", false, &[file(&long)]).unwrap()[0];
    assert!(path.as_os_str().len() <= MAX_PATH && path.starts_with("t") && path.ends_with("file.txt"));
}

#[test]
fn duplicates_are_numbered_even_where_only_case_differs() {
    assert_eq!(below(&[&["a.txt"], &["a.txt"], &["A.TXT"], &["a.1.txt"]]), ["a.txt", "a.1.txt", "A.2.TXT", "a.1.1.txt"]);
    assert_eq!(below(&[&["D", "x"], &["d", "X"]]), ["D/x", "d/X.1"]);
    assert_eq!(below(&[&["é"], &["É"]]), ["é", "É.1"]);
}

#[test]
fn a_file_gives_way_to_a_folder_of_its_name() {
    assert_eq!(below(&[&["a"], &["a", "b"], &["A"]]), ["a.1", "a/b", "A.2"]);
    assert_eq!(below(&[&["a", "b"], &["a"]]), ["a/b", "a.1"]);
    assert_eq!(below(&[&["a"], &["a", "b", "c"], &["a", "b"]]), ["a.1", "a/b/c", "a/b.1"]);
}

#[test]
fn many_duplicates_take_linear_time_and_end() {
    let files = vec![file(&["same"]); MAX_RENAMES as usize + 1];
    let paths = safe_paths("t", false, &files).unwrap();
    assert_eq!(paths.last().unwrap(), &Path::new("t").join(format!("same.{MAX_RENAMES}")));
    let files = vec![file(&["same"]); MAX_RENAMES as usize + 2];
    assert_eq!(safe_paths("t", false, &files), Err(PathError::TooManyDuplicates));
}

#[test]
fn the_folder_of_states_cannot_be_named() {
    assert_eq!(single(".cratetorrent"), "_.cratetorrent");
    assert_eq!(single(" .CrateTorrent. "), "_.CrateTorrent");
    assert_eq!(safe_paths(".cratetorrent", false, &[file(&["x"])]).unwrap(), [Path::new("_.cratetorrent/x")]);
    assert_eq!(one(".cratetorrent"), ".cratetorrent", "below the torrent's own folder it harms nobody");
}

#[test]
fn pads_and_links_have_no_path_and_take_no_name() {
    let kind = |kind| FileEntry { kind, ..file(&["a"]) };
    let paths = safe_paths("t", false, &[kind(FileKind::Pad), kind(FileKind::Symlink), kind(FileKind::Regular)]).unwrap();
    assert_eq!(paths, [Path::new(""), Path::new(""), Path::new("t/a")]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_names_the_paths_are_inside_and_different(
        name in names(),
        files in prop::collection::vec(prop::collection::vec(names(), 0..6), 1..20),
    ) {
        let files: Vec<_> = files.iter().map(|p| file(&p.iter().map(|s| &**s).collect::<Vec<_>>())).collect();
        let paths = safe_paths(&name, false, &files).unwrap();
        let mut seen = std::collections::HashSet::new();
        for path in &paths {
            assert_inside(path);
            prop_assert!(seen.insert(path.to_str().unwrap().to_lowercase()), "{:?}", paths);
        }
        for path in &paths {
            for folder in path.ancestors().skip(1) {
                prop_assert!(!seen.contains(&folder.to_str().unwrap().to_lowercase()), "{:?}", paths);
            }
        }
        let single = safe_paths(&name, true, &files[..1]).unwrap();
        assert_inside(&single[0]);
    }
}

fn names() -> impl Strategy<Value = String> {
    let nasty = "[aAbB./\\\\ \u{0}\n_1\u{202e}ß]{0,6}";
    prop_oneof![4 => nasty.boxed(), 1 => ".{0,400}".boxed(), 1 => Just("CON".to_owned()).boxed(), 1 => "\\PC{0,9}".boxed()]
}

#[test]
fn a_rename_is_as_safe_as_a_torrents_names_and_stays_below() {
    let safe = |path: &str| safe_rename(Path::new(path)).map(|path| path.display().to_string());
    assert_eq!(safe("a/b.txt"), Ok("a/b.txt".into()));
    assert_eq!(safe("./a//c. /CON"), Ok("a/c/_CON".into()));
    assert_eq!(safe(".CrateTorrent/x"), Ok("_.CrateTorrent/x".into()));
    for wrong in ["", ".", "/", "/a", "..", "a/../b", "a/.."] {
        assert_eq!(safe(wrong), Err(RenameError::NotBelow), "{wrong:?}");
    }
    assert_eq!(safe(&["d"; 101].join("/")), Err(RenameError::TooLong));
    let long = vec!["d".repeat(200); 11].join("/");
    assert_eq!(safe(&long), Err(RenameError::TooLong));
}

#[test]
fn a_renamed_file_takes_no_name_of_another_file_or_folder() {
    let entry = |path: &[&str]| FileEntry {
        path: path.iter().map(|part| (*part).to_owned()).collect(),
        len: 1,
        offset: 0,
        kind: FileKind::Regular,
    };
    let mut files = vec![entry(&["a"]), entry(&["b", "c"]), entry(&["d"])];
    files.push(FileEntry { kind: FileKind::Pad, ..entry(&["p"]) });
    let renamed = |file: usize, to: &str| renamed_paths("t", false, &files, &[(file, to.into())]);
    assert_eq!(renamed(0, "x/y").unwrap(), ["x/y", "t/b/c", "t/d", ""].map(PathBuf::from));
    // Its own old name is free, and so is another's in another folder.
    assert!(renamed(0, "T/A").is_ok() && renamed(0, "d").is_ok());
    for taken in ["t/D", "t/b", "t/B", "t", "t/d/e", "t/b/c"] {
        assert!(matches!(renamed(0, taken), Err(PathError::Rename(_, RenameError::Taken))), "{taken}");
    }
    assert_eq!(renamed(3, "q"), Err(PathError::Rename(3, RenameError::NoFile)));
    assert_eq!(renamed(9, "q"), Err(PathError::Rename(9, RenameError::NoFile)));
    assert_eq!(renamed(0, "../q"), Err(PathError::Rename(0, RenameError::NotBelow)));
    assert_eq!(renamed(0, "q. "), Err(PathError::Rename(0, RenameError::NotBelow)), "it has not been made safe");
    // Two change names.
    let swapped = renamed_paths("t", false, &files, &[(0, "t/d".into()), (2, "t/a".into())]);
    assert_eq!(swapped.unwrap()[..], ["t/d", "t/b/c", "t/a", ""].map(PathBuf::from));
}
