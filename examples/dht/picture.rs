//! A look-up as an SVG: a bar for each query from its sending to its answer, in the colour of its
//! hop, and a dot where peers came.

use std::fmt::Write;

use cratetorrent::{dht::Step, wire::krpc::NodeInfo};

/// Pixels: a row, the left margin for addresses, and the width of the time axis.
const ROW: f64 = 14.0;
const LEFT: f64 = 190.0;
const WIDTH: f64 = 800.0;
const COLOURS: [&str; 5] = ["#1b6ca8", "#2a9d8f", "#e9a03b", "#d1495b", "#6d597a"];

/// The queries so far.
#[derive(Default)]
pub struct Picture {
    bars: Vec<Bar>,
    end: f64,
}

struct Bar {
    node: NodeInfo,
    hop: u32,
    from: f64,
    to: Option<f64>,
    peers: Option<(f64, usize)>,
}

impl Picture {
    pub fn note(&mut self, ms: f64, step: Step) {
        self.end = self.end.max(ms);
        match step {
            Step::Asked { node, hop } => {
                self.bars.push(Bar { node, hop, from: ms, to: None, peers: None });
            }
            Step::Answered { node, .. } => {
                self.bar(node).into_iter().for_each(|bar| bar.to = Some(ms));
            }
            _ => {}
        }
    }

    pub fn note_peers(&mut self, ms: f64, from: NodeInfo, peers: usize) {
        self.bar(from).into_iter().for_each(|bar| bar.peers = Some((ms, peers)));
    }

    fn bar(&mut self, node: NodeInfo) -> Option<&mut Bar> {
        self.bars.iter_mut().rev().find(|bar| bar.node == node)
    }

    pub fn svg(&self) -> String {
        let scale = WIDTH / self.end.max(1.0);
        let (width, height) = (LEFT + WIDTH + 20.0, ROW * (self.bars.len() as f64 + 3.0));
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             font-family=\"monospace\" font-size=\"10\">\n<rect width=\"100%\" height=\"100%\" \
             fill=\"white\"/>\n"
        );
        for part in 0..=10 {
            let ms = self.end * f64::from(part) / 10.0;
            let x = LEFT + ms * scale;
            _ = writeln!(
                out,
                "<line x1=\"{x:.1}\" y1=\"{ROW}\" x2=\"{x:.1}\" y2=\"{height}\" stroke=\"#ddd\"/>\
                 <text x=\"{x:.1}\" y=\"10\" text-anchor=\"middle\">{ms:.0} ms</text>"
            );
        }
        for (row, bar) in self.bars.iter().enumerate() {
            let y = ROW * (row as f64 + 2.0);
            let x = LEFT + bar.from * scale;
            let length = ((bar.to.unwrap_or(self.end) - bar.from) * scale).max(1.0);
            let colour = COLOURS.get(bar.hop as usize).unwrap_or(&COLOURS[4]);
            let opacity = if bar.to.is_some() { 1.0 } else { 0.2 };
            _ = writeln!(
                out,
                "<text x=\"4\" y=\"{:.1}\">{} {}</text><rect x=\"{x:.1}\" y=\"{y:.1}\" \
                 width=\"{length:.1}\" height=\"9\" fill=\"{colour}\" opacity=\"{opacity}\"/>",
                y + 9.0,
                bar.hop,
                bar.node.addr
            );
            if let Some((ms, peers)) = bar.peers {
                let x = LEFT + ms * scale;
                _ = writeln!(
                    out,
                    "<circle cx=\"{x:.1}\" cy=\"{:.1}\" r=\"4\" fill=\"black\"/>\
                     <text x=\"{:.1}\" y=\"{:.1}\">{peers}</text>",
                    y + 4.5,
                    x + 6.0,
                    y + 9.0
                );
            }
        }
        out.push_str("</svg>\n");
        out
    }
}
