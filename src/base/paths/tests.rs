//! Names that torrents should not have, a test a kind of attack.

use std::path::{Component, Path};

use proptest::prelude::*;

use super::*;

fn file(path: &[&str]) -> FileEntry {
    FileEntry {
        path: path.iter().map(|&p| p.into()).collect(),
        len: 1,
        offset: 0,
        kind: FileKind::Regular,
    }
}

/// Rules of another platform can be tried on any, since they are values.
const ALL_RULES: [NameRules; 3] = [NameRules::UNIX, NameRules::WINDOWS, NameRules::V0_2];

fn foreign<'a>(name: &'a str, single_file: bool, files: &'a [FileEntry]) -> Foreign<'a> {
    Foreign { name, single_file, files }
}

/// The paths below a torrent called `t`.
fn below_by(rules: NameRules, case: Case, files: &[&[&str]]) -> Vec<String> {
    let files: Vec<_> = files.iter().map(|path| file(path)).collect();
    let paths = safe_paths(foreign("t", false, &files), rules, case).unwrap();
    paths.iter().map(|p| p.strip_prefix("t").unwrap().to_str().unwrap().to_owned()).collect()
}

fn below(files: &[&[&str]]) -> Vec<String> {
    below_by(NameRules::UNIX, Case::Kept, files)
}

fn one_by(rules: NameRules, part: &str) -> String {
    below_by(rules, Case::Ignored, &[&[part]]).remove(0)
}

fn one(part: &str) -> String {
    one_by(NameRules::UNIX, part)
}

fn single_by(rules: NameRules, name: &str) -> String {
    safe_paths(foreign(name, true, &[file(&[])]), rules, Case::Ignored).unwrap()[0]
        .to_str()
        .unwrap()
        .to_owned()
}

fn assert_inside(path: &Path) {
    assert!(path.components().all(|c| matches!(c, Component::Normal(_))), "{path:?}");
    assert!(path.components().count() >= 1 && path.components().count() <= MAX_DEPTH, "{path:?}");
    let units = |c: Component<'_>| c.as_os_str().to_str().unwrap().encode_utf16().count();
    assert!(path.components().all(|c| units(c) <= 255), "{path:?}");
    assert!(path.as_os_str().len() <= MAX_PATH + 3 * 255, "{path:?}");
}

#[test]
fn ordinary_names_stay() {
    let names = [
        "a.txt",
        ".hidden",
        "Ünïcödé 日本語.mkv",
        "a  b",
        "no-extension",
        "a.tar.gz",
        "console.log",
        "COM10",
        "com",
        ".a..",
    ];
    for name in names.iter().take(9) {
        for rules in ALL_RULES {
            assert_eq!(one_by(rules, name), *name);
            assert_eq!(single_by(rules, name), *name);
        }
    }
    assert_eq!(below(&[&["x", "y"], &["x", "z"]]), ["x/y", "x/z"]);
}

#[test]
fn name_that_unix_takes_stays_exact() {
    let long = format!("{}.mkv", "x".repeat(251));
    let wide = "語".repeat(85);
    let exact = [
        "aux.c",
        "CON",
        "com1",
        "nul.tar.gz",
        " lead",
        "trail ",
        "etc.",
        "What... ",
        "...",
        ". .",
        "a:b",
        "a?b*<c>|\"d\"",
        " ",
        "\u{3000}",
        &long,
        &wide,
    ];
    for name in exact {
        assert_eq!(one(name), name);
        assert_eq!(single_by(NameRules::UNIX, name), name);
        let is_changed = |rules| one_by(rules, name) != name;
        assert!(is_changed(NameRules::WINDOWS) || is_changed(NameRules::V0_2), "{name:?}");
    }
    assert_eq!(
        below(&[&["README"], &["readme"], &["dir."], &["dir", "x"]]),
        ["README", "readme", "dir.", "dir/x"]
    );
}

#[test]
fn dots_and_empty_names_lead_nowhere() {
    for name in ["", ".", "..", "\t"] {
        for rules in ALL_RULES {
            assert_eq!(one_by(rules, name), "_", "{name:?}");
            assert_eq!(single_by(rules, name), "_", "{name:?}");
        }
    }
    for name in ["...", ". .", ".. ", "   "] {
        for rules in [NameRules::WINDOWS, NameRules::V0_2] {
            assert_eq!(one_by(rules, name), "_", "{name:?}");
        }
    }
    for rules in ALL_RULES {
        let below = |files| below_by(rules, Case::Kept, files);
        assert_eq!(below(&[&["..", "..", "etc", "passwd"]]), ["_/_/etc/passwd"]);
        assert_eq!(below(&[&["a", "", ".", "b"]]), ["a/_/_/b"]);
        assert_eq!(below(&[&[]]), ["_"]);
        let files = [file(&["x"])];
        assert_eq!(
            safe_paths(foreign("..", false, &files), rules, Case::Kept).unwrap(),
            [Path::new("_/x")]
        );
    }
}

#[test]
fn absolute_names_and_separators_stay_inside() {
    for rules in ALL_RULES {
        assert_eq!(one_by(rules, "/etc/passwd"), "_etc_passwd");
        assert_eq!(one_by(rules, "../../x"), ".._.._x");
        assert_eq!(one_by(rules, "..\\..\\x"), ".._.._x");
        assert_eq!(one_by(rules, "\\\\server\\share"), "__server_share");
        assert_eq!(single_by(rules, "/"), "_");
    }
    assert_eq!(one_by(NameRules::WINDOWS, "C:\\x"), "C__x");
    assert_eq!(one_by(NameRules::WINDOWS, "file:stream"), "file_stream");
}

#[test]
fn control_characters_and_nul_are_replaced() {
    for rules in ALL_RULES {
        assert_eq!(one_by(rules, "a\0b\nc\x1bd\x7fe\u{85}f"), "a_b_c_d_e_f");
        assert_eq!(one_by(rules, "a\u{2028}b\u{feff}"), "a_b_");
    }
}

#[test]
fn text_direction_cannot_disguise_an_extension() {
    for c in [
        '\u{202a}', '\u{202b}', '\u{202d}', '\u{202e}', '\u{2066}', '\u{2067}', '\u{2069}',
        '\u{200f}', '\u{61c}',
    ] {
        for rules in ALL_RULES {
            assert_eq!(one_by(rules, &format!("photo{c}gpj.exe")), "photo_gpj.exe");
        }
    }
}

#[test]
fn reserved_windows_names_are_marked() {
    for rules in [NameRules::WINDOWS, NameRules::V0_2] {
        for name in
            ["CON", "nul", "Aux.txt", "COM1", "lpt9.tar.gz", "COM¹", "NUL .txt", "CONIN$", "prn."]
        {
            assert!(one_by(rules, name).starts_with('_'), "{name} became {}", one_by(rules, name));
        }
        assert_eq!(below_by(rules, Case::Ignored, &[&["con", "x"]]), ["_con/x"]);
    }
}

#[test]
fn ends_of_names_that_windows_drops_go_there() {
    assert_eq!(one_by(NameRules::WINDOWS, "  a b.txt  "), "  a b.txt");
    assert_eq!(one_by(NameRules::V0_2, "  a b.txt  "), "a b.txt");
    for rules in [NameRules::WINDOWS, NameRules::V0_2] {
        assert_eq!(one_by(rules, "name. . ."), "name");
        assert_eq!(
            below_by(rules, Case::Ignored, &[&["dir.", "x"], &["dir", "x"]]),
            ["dir/x", "dir/x.1"]
        );
    }
}

#[test]
fn long_name_is_cut_between_characters_and_keeps_extension() {
    let long = one(&format!("{}.mkv", "x".repeat(5000)));
    assert_eq!((long.len(), &long[long.len() - 5..]), (255, "x.mkv"));
    let wide = one(&format!("{}.mkv", "語".repeat(200)));
    assert!(wide.len() <= 255 && wide.len() > 252 && wide.ends_with("語.mkv"));
    assert_eq!(one(&format!("a.{}", "e".repeat(5000))).len(), 255);
    // NTFS counts units of UTF-16, of which a character beyond the first plane has two.
    assert_eq!(one_by(NameRules::WINDOWS, &"語".repeat(300)).chars().count(), 255);
    assert_eq!(one_by(NameRules::WINDOWS, &"😀".repeat(300)).chars().count(), 127);
    assert_eq!(one_by(NameRules::V0_2, &"x".repeat(255)).len(), 240);
    // What is the same after cutting is told apart again, within the limit.
    let name = "x".repeat(300);
    for rules in ALL_RULES {
        let paths = below_by(rules, Case::Kept, &[&[&name], &[&name]]);
        assert!(paths[0] != paths[1] && paths.iter().all(|p| p.len() <= 255));
    }
}

#[test]
fn deep_trees_collapse() {
    let deep: Vec<_> = (0..1000).map(|_| "d").chain(["file.txt"]).collect();
    let deeper: Vec<_> = (0..2000).map(|_| "d").chain(["file.txt"]).collect();
    let files = [file(&deep), file(&deeper)];
    let paths = safe_paths(foreign("t", false, &files), NameRules::UNIX, Case::Kept).unwrap();
    assert_eq!(paths[0].components().count(), MAX_DEPTH);
    assert!(paths[0].ends_with("d/file.txt") && paths[1].ends_with("d/file.1.txt"));

    let folder = "f".repeat(200);
    let long: Vec<_> = (0..50).map(|_| &*folder).chain(["file.txt"]).collect();
    let files = [file(&long)];
    let path = &safe_paths(foreign("t", false, &files), NameRules::UNIX, Case::Kept).unwrap()[0];
    assert!(
        path.as_os_str().len() <= MAX_PATH && path.starts_with("t") && path.ends_with("file.txt")
    );
}

#[test]
fn duplicates_are_numbered_as_the_disk_tells_names_apart() {
    let files: [&[&str]; 4] = [&["a.txt"], &["a.txt"], &["A.TXT"], &["a.1.txt"]];
    assert_eq!(below(&files), ["a.txt", "a.1.txt", "A.TXT", "a.1.1.txt"]);
    let below = |files: &[&[&str]]| below_by(NameRules::UNIX, Case::Ignored, files);
    assert_eq!(below(&files), ["a.txt", "a.1.txt", "A.2.TXT", "a.1.1.txt"]);
    assert_eq!(below(&[&["D", "x"], &["d", "X"]]), ["D/x", "d/X.1"]);
    assert_eq!(below(&[&["é"], &["É"]]), ["é", "É.1"]);
}

#[test]
fn a_file_gives_way_to_a_folder_of_its_name() {
    let ignored = below_by(NameRules::UNIX, Case::Ignored, &[&["a"], &["a", "b"], &["A"]]);
    assert_eq!(ignored, ["a.1", "a/b", "A.2"]);
    assert_eq!(below(&[&["a", "b"], &["a"]]), ["a/b", "a.1"]);
    assert_eq!(below(&[&["a"], &["a", "b", "c"], &["a", "b"]]), ["a.1", "a/b/c", "a/b.1"]);
}

#[test]
fn many_duplicates_take_linear_time_and_end() {
    let files = vec![file(&["same"]); MAX_RENAMES as usize + 1];
    let paths = safe_paths(foreign("t", false, &files), NameRules::UNIX, Case::Kept).unwrap();
    assert_eq!(paths.last().unwrap(), &Path::new("t").join(format!("same.{MAX_RENAMES}")));
    let files = vec![file(&["same"]); MAX_RENAMES as usize + 2];
    let paths = safe_paths(foreign("t", false, &files), NameRules::UNIX, Case::Kept);
    assert_eq!(paths, Err(PathError::TooManyDuplicates));
}

#[test]
fn the_folder_of_states_cannot_be_named() {
    for rules in ALL_RULES {
        assert_eq!(single_by(rules, ".cratetorrent"), "_.cratetorrent");
        assert_eq!(single_by(rules, ".CrateTorrent"), "_.CrateTorrent");
        let files = [file(&["x"])];
        let paths = safe_paths(foreign(".cratetorrent", false, &files), rules, Case::Kept).unwrap();
        assert_eq!(paths, [Path::new("_.cratetorrent/x")]);
        assert_eq!(
            one_by(rules, ".cratetorrent"),
            ".cratetorrent",
            "below the torrent's own folder it does no harm"
        );
    }
    assert_eq!(single_by(NameRules::V0_2, " .CrateTorrent. "), "_.CrateTorrent");
    assert_eq!(single_by(NameRules::WINDOWS, ".CrateTorrent. "), "_.CrateTorrent");
}

#[test]
fn pads_and_links_have_no_path_and_take_no_name() {
    let kind = |kind| FileEntry { kind, ..file(&["a"]) };
    let files = [kind(FileKind::Pad), kind(FileKind::Symlink), kind(FileKind::Regular)];
    let paths = safe_paths(foreign("t", false, &files), NameRules::UNIX, Case::Kept).unwrap();
    assert_eq!(paths, [Path::new(""), Path::new(""), Path::new("t/a")]);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn random_names_give_different_paths_inside_the_folder(
        name in names(),
        files in prop::collection::vec(prop::collection::vec(names(), 0..6), 1..20),
    ) {
        let files: Vec<_> =
            files.iter().map(|p| file(&p.iter().map(|s| &**s).collect::<Vec<_>>())).collect();
        for (rules, case) in ALL_RULES
            .into_iter()
            .flat_map(|rules| [(rules, Case::Kept), (rules, Case::Ignored)])
        {
            let paths = safe_paths(foreign(&name, false, &files), rules, case).unwrap();
            let folded = |path: &Path| case.fold(path.to_str().unwrap());
            let mut seen = std::collections::HashSet::new();
            for path in &paths {
                assert_inside(path);
                prop_assert!(seen.insert(folded(path)), "{:?}", paths);
            }
            for path in &paths {
                for folder in path.ancestors().skip(1) {
                    prop_assert!(!seen.contains(&folded(folder)), "{:?}", paths);
                }
            }
            let single = safe_paths(foreign(&name, true, &files[..1]), rules, case).unwrap();
            assert_inside(&single[0]);
        }
    }
}

fn names() -> impl Strategy<Value = String> {
    let nasty = "[aAbB./\\\\ \u{0}\n_1\u{202e}ß]{0,6}";
    prop_oneof![
        4 => nasty.boxed(),
        1 => ".{0,400}".boxed(),
        1 => Just("CON".to_owned()).boxed(),
        1 => "\\PC{0,9}".boxed(),
    ]
}

#[test]
fn a_rename_is_as_safe_as_a_torrents_names_and_stays_below() {
    let safe = |path: &str| safe_rename(Path::new(path)).map(|path| path.display().to_string());
    assert_eq!(safe("a/b.txt"), Ok("a/b.txt".into()));
    let exact = if cfg!(windows) { "a/c/_CON" } else { "a/c. /CON" };
    assert_eq!(safe("./a//c. /CON"), Ok(exact.into()));
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
    let all = |case, renames: &[(usize, PathBuf)]| {
        renamed_paths(foreign("t", false, &files), case, renames)
    };
    let renamed = |file: usize, to: &str| all(Case::Ignored, &[(file, to.into())]);
    assert_eq!(renamed(0, "x/y").unwrap(), ["x/y", "t/b/c", "t/d", ""].map(PathBuf::from));
    // Its own old name is free, and so is another's in another folder.
    assert!(renamed(0, "T/A").is_ok() && renamed(0, "d").is_ok());
    for taken in ["t/D", "t/b", "t/B", "t", "t/d/e", "t/b/c"] {
        assert!(
            matches!(renamed(0, taken), Err(PathError::Rename(_, RenameError::Taken))),
            "{taken}"
        );
    }
    assert_eq!(renamed(3, "q"), Err(PathError::Rename(3, RenameError::NoFile)));
    assert_eq!(renamed(9, "q"), Err(PathError::Rename(9, RenameError::NoFile)));
    assert_eq!(renamed(0, "../q"), Err(PathError::Rename(0, RenameError::NotBelow)));
    assert_eq!(
        renamed(0, "q\t"),
        Err(PathError::Rename(0, RenameError::NotBelow)),
        "it has not been made safe"
    );
    assert!(
        all(Case::Kept, &[(0, "t/D".into())]).is_ok(),
        "a disk that tells them apart takes both"
    );
    // Two change names.
    let swapped = all(Case::Ignored, &[(0, "t/d".into()), (2, "t/a".into())]);
    assert_eq!(swapped.unwrap()[..], ["t/d", "t/b/c", "t/a", ""].map(PathBuf::from));
}
