//! The picture of uTP in RESEARCH.md is drawn from the rows of its tables, and is the one that they
//! give now. `scripts/utp_figure` draws it anew.

use std::{collections::BTreeMap, fmt::Write, fs, path::PathBuf};

const WIDTH: f64 = 720.0;
/// Where the first panel and the first line begin.
const LEFT: f64 = 112.0;
const TOP: f64 = 76.0;
/// A panel, and the room to the next.
const PANEL: f64 = 184.0;
const GAP: f64 = 18.0;
/// A line has the dots of its queues one below the other.
const ROW: f64 = 21.0;
const DOT: f64 = 4.5;

/// A dot: the queue of its line, in milliseconds, and the three numbers.
type Dots = BTreeMap<u64, [f64; 3]>;
/// The lines by their rate in Mbit/s and their round trip in milliseconds.
type Lines = BTreeMap<(u64, u64), Dots>;

/// What a panel shows: a title, the end of its axis, its marks, and what was asked for.
struct Panel {
    title: &'static str,
    end: f64,
    step: f64,
    bound: f64,
    asked: &'static str,
}

const PANELS: [Panel; 3] = [
    Panel { title: "use of the line, %", end: 100.0, step: 25.0, bound: 95.0, asked: "≥ 95 %" },
    Panel {
        title: "wait of 95 in 100, ms",
        end: 150.0,
        step: 50.0,
        bound: 125.0,
        asked: "≤ 125 ms",
    },
    Panel {
        title: "share beside a stream, %",
        end: 100.0,
        step: 25.0,
        bound: 10.0,
        asked: "≤ 10 %",
    },
];

/// How the names of the columns begin that are drawn. Of two numbers in a cell the second counts.
const COLUMNS: [&str; 6] = ["Mbit/s", "round trip", "queue", "use", "wait", "share"];

/// The cells of a row of a table.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(str::trim).collect())
}

/// The rows of all tables whose columns have the names of these numbers. Where there is a column of
/// losses, only rows without. What is measured twice counts as it stands last.
fn rows(text: &str) -> Lines {
    let mut lines = Lines::new();
    let mut columns: Option<Vec<String>> = None;
    for line in text.lines() {
        let Some(cells) = cells(line) else {
            columns = None;
            continue;
        };
        let Some(names) = &columns else {
            let has = |name: &&str| cells.iter().any(|cell| cell.starts_with(*name));
            let is_ours = COLUMNS.iter().all(has);
            let names = cells.iter().filter(|_| is_ours).map(|name| name.to_string());
            columns = Some(names.collect());
            continue;
        };
        if names.is_empty() || cells.iter().all(|cell| cell.chars().all(|c| "-:".contains(c))) {
            continue;
        }
        let cell = |name: &str| {
            let at = names.iter().position(|other| other.starts_with(name))?;
            cells.get(at).copied()
        };
        let number = |name: &str| {
            let word = cell(name)?.rsplit(',').next()?.trim();
            Some(word.parse::<f64>().unwrap_or_else(|_| panic!("{name} of {line:?}")))
        };
        let need = |name: &str| number(name).unwrap_or_else(|| panic!("no {name} in {line:?}"));
        if number("loss").is_some_and(|loss| loss > 0.0) {
            continue;
        }
        let [mbit, trip, queue, values @ ..] = COLUMNS.map(need);
        lines.entry((mbit as u64, trip as u64)).or_default().insert(queue as u64, values);
    }
    lines
}

const STYLE: &str = "\
.b{fill:#fff}text{fill:#222}.g{stroke:#ddd}.h{stroke:#bbb}.a{stroke:#222;stroke-dasharray:4 3}\
.d{fill:none;stroke-width:4.5;stroke-linecap:round}\
.q0{stroke:#b03030}.q1{stroke:#c08000}.q2{stroke:#2a8050}.q3{stroke:#3060c0}\
@media(prefers-color-scheme:dark){\
.b{fill:#14171c}text{fill:#ddd}.g{stroke:#333}.h{stroke:#555}.a{stroke:#ddd}\
.q0{stroke:#f07070}.q1{stroke:#e8b040}.q2{stroke:#60c090}.q3{stroke:#80a8ff}}";

/// The picture.
fn draw(lines: &Lines) -> String {
    let mut queues: Vec<u64> = lines.values().flat_map(|dots| dots.keys().copied()).collect();
    queues.sort_unstable();
    queues.dedup();
    assert!(queues.len() <= 4, "STYLE has four colours");
    let bottom = TOP + ROW * lines.len() as f64;
    let mut svg = String::new();
    let out = &mut svg;
    let mut put = |args: std::fmt::Arguments<'_>| writeln!(out, "{args}").unwrap();
    put(format_args!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {}" font-family="sans-serif" font-size="12">"#,
        bottom + 30.0
    ));
    put(format_args!("<style>{STYLE}</style>"));
    put(format_args!(r#"<rect class="b" width="100%" height="100%"/>"#));
    put(format_args!(
        r#"<text x="12" y="22" font-size="15">uTP on lines without loss, by the queue of the line</text>"#
    ));
    for (nth, queue) in queues.iter().enumerate() {
        let x = LEFT + 340.0 + 66.0 * nth as f64;
        put(format_args!(r#"<path class="d q{nth}" d="M{x} 18h.01"/>"#));
        put(format_args!(r#"<text x="{}" y="22">{queue} ms</text>"#, x + 7.0));
    }
    for (nth, (mbit, trip)) in lines.keys().enumerate() {
        let y = TOP + ROW * nth as f64;
        let is_new = nth == 0 || lines.keys().nth(nth - 1).is_some_and(|(other, _)| other != mbit);
        let class = if is_new { 'h' } else { 'g' };
        put(format_args!(r#"<path class="{class}" d="M12 {y}H{}"/>"#, WIDTH - 12.0));
        let name = format!("{mbit} Mbit/s, {trip} ms");
        put(format_args!(r#"<text x="12" y="{}" font-size="11">{name}</text>"#, y + 15.0));
    }
    for (nth, panel) in PANELS.iter().enumerate() {
        let left = LEFT + 16.0 + (PANEL + GAP) * nth as f64;
        let most = lines.values().flat_map(Dots::values).map(|v| v[nth]).fold(panel.end, f64::max);
        let end = (most / panel.step).ceil() * panel.step;
        let at = |value: f64| left + (PANEL - 16.0) * value / end;
        put(format_args!(r#"<text x="{left}" y="48">{}</text>"#, panel.title));
        let mut mark = 0.0;
        while mark <= end {
            let x = at(mark);
            put(format_args!(r#"<path class="g" d="M{x:.1} {TOP}V{bottom}"/>"#));
            put(format_args!(
                r#"<text x="{x:.1}" y="{}" text-anchor="middle" font-size="11">{mark}</text>"#,
                bottom + 15.0
            ));
            mark += panel.step;
        }
        let bound = at(panel.bound);
        put(format_args!(r#"<path class="a" d="M{bound:.1} {}V{bottom}"/>"#, TOP - 6.0));
        let anchor = if bound > left + 30.0 { "end" } else { "start" };
        put(format_args!(
            r#"<text x="{:.1}" y="{}" text-anchor="{anchor}" font-size="11">{}</text>"#,
            bound + if anchor == "end" { 6.0 } else { -6.0 },
            TOP - 10.0,
            panel.asked
        ));
        for (nth_queue, queue) in queues.iter().enumerate() {
            let mut d = String::new();
            for (row, dots) in lines.values().enumerate() {
                let Some(values) = dots.get(queue) else { continue };
                let y = TOP + ROW * row as f64 + 3.75 + DOT * nth_queue as f64;
                write!(d, "M{:.1} {y:.1}h.01", at(values[nth])).unwrap();
            }
            put(format_args!(r#"<path class="d q{nth_queue}" d="{d}"/>"#));
        }
    }
    svg += "</svg>\n";
    svg
}

#[test]
fn picture_of_utp_is_that_of_its_tables() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("scripts/figures/utp.svg");
    let svg = draw(&rows(&fs::read_to_string(root.join("RESEARCH.md")).unwrap()));
    if std::env::var_os("DRAW").is_some() {
        fs::write(&path, &svg).unwrap();
    }
    let current = fs::read_to_string(&path).unwrap_or_default();
    assert!(current == svg, "run scripts/utp_figure: {} is not current", path.display());
}

#[test]
fn rows_are_found_by_the_names_of_their_columns() {
    let text = "\
| Mbit/s | round trip | queue | wait |
|---|---|---|---|
| 1 | x | 20 | y |

| Mbit/s | round trip | queue | loss % | use % | wait 50 %, 95 % | share % | four |
|---|---|---|---|---|---|---|---|
| 1 | 5 | 20 | 0.0 | 99.5 | 23, 31 | 61 | 209 |
| 1 | 5 | 100 | 0.5 | 1 | 2, 3 | 4 | 5 |

| queue | Mbit/s | round trip | use % | share % | late | wait 50 %, 95 % |
|---:|---|---|---|---|---|---|
| 500 | 1 | 5 | 90 | 2 | 1 | 80, 102 |
";
    let dots = Dots::from([(20, [99.5, 31.0, 61.0]), (500, [90.0, 102.0, 2.0])]);
    assert_eq!(rows(text), Lines::from([((1, 5), dots)]));
}
