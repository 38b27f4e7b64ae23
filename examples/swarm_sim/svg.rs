//! A small drawing of lines over a logarithmic axis, as SVG. It knows numbers and words, not
//! swarms.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 430.0;
/// Room around the axes: left, top, right, bottom.
const MARGIN: [f64; 4] = [70.0, 50.0, 150.0, 60.0];

pub struct Chart {
    pub title: String,
    pub x: String,
    pub y: String,
    pub lines: Vec<Line>,
}

pub struct Line {
    pub name: &'static str,
    pub colour: &'static str,
    pub dashed: bool,
    pub points: Vec<Point>,
}

/// Where a line passes, and between what the single values were.
#[derive(Clone, Copy)]
pub struct Point {
    pub x: f64,
    pub y: f64,
    pub from: f64,
    pub to: f64,
}

impl Chart {
    pub fn draw(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let (least, most) =
            points().fold((f64::MAX, 1.0_f64), |(a, b), p| (a.min(p.x), b.max(p.x)));
        let top = nice(points().fold(0.0_f64, |top, p| top.max(p.to)) / 5.0) * 6.0;
        let span = (most.log10() - least.log10()).max(0.1);
        let [left, above, right, below] = MARGIN;
        let at_x = |x: f64| left + (x.log10() - least.log10()) / span * (WIDTH - left - right);
        let at_y = |y: f64| HEIGHT - below - y / top * (HEIGHT - above - below);
        let mut svg = String::new();
        let out = &mut svg;
        let _ = write!(
            out,
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" "#
        );
        let _ = writeln!(
            out,
            r##"font-family="sans-serif" font-size="13">
<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>
<text x="{left}" y="26" font-size="16">{}</text>
<text x="{}" y="{}" text-anchor="middle">{}</text>
<text transform="translate(18 {}) rotate(-90)" text-anchor="middle">{}</text>"##,
            self.title,
            (left + WIDTH - right) / 2.0,
            HEIGHT - 15.0,
            self.x,
            HEIGHT / 2.0,
            self.y
        );
        for step in 0..=6 {
            let value = top / 6.0 * f64::from(step);
            let (from, to, y) = (left, WIDTH - right, at_y(value));
            let _ = writeln!(out, r##"<path d="M{from} {y:.1}H{to}" stroke="#ddd"/>"##);
            let _ = writeln!(
                out,
                r#"<text x="{}" y="{:.1}" text-anchor="end">{value:.1}</text>"#,
                from - 8.0,
                y + 4.0
            );
        }
        let mut decade = 10_f64.powf(least.log10().ceil());
        while decade <= most * 1.01 {
            let (x, from, to) = (at_x(decade), at_y(0.0), at_y(top));
            let _ = writeln!(out, r##"<path d="M{x:.1} {from:.1}V{to:.1}" stroke="#ddd"/>"##);
            let _ = writeln!(
                out,
                r#"<text x="{x:.1}" y="{:.1}" text-anchor="middle">{decade}</text>"#,
                from + 20.0
            );
            decade *= 10.0;
        }
        for Line { name, colour, dashed, points } in &self.lines {
            let path: Vec<_> =
                points.iter().map(|p| format!("{:.1} {:.1}", at_x(p.x), at_y(p.y))).collect();
            let dash = if *dashed { r#" stroke-dasharray="6 5""# } else { "" };
            let _ = writeln!(
                out,
                r#"<path d="M{}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>"#,
                path.join("L")
            );
            if !dashed {
                for &Point { x, y, from, to } in points {
                    let (x, y, from, to) = (at_x(x), at_y(y), at_y(from), at_y(to));
                    let _ = writeln!(
                        out,
                        r#"<circle cx="{x:.1}" cy="{y:.1}" r="3.5" fill="{colour}"/>"#
                    );
                    let _ = writeln!(
                        out,
                        "<path d=\"M{x:.1} {from:.1}V{to:.1}\" stroke=\"{colour}\" \
                         stroke-width=\"1.5\"/>"
                    );
                }
            }
            if let Some(p) = points.last() {
                let (x, y) = (at_x(p.x) + 10.0, at_y(p.y) + 4.0);
                let _ =
                    writeln!(out, r#"<text x="{x:.1}" y="{y:.1}" fill="{colour}">{name}</text>"#);
            }
        }
        svg += "</svg>\n";
        svg
    }
}

/// The next number above that is 1, 2 or 5 of some power of ten.
fn nice(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1e-9).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|step| step * power)
        .find(|&step| step >= value)
        .unwrap_or(value)
}
