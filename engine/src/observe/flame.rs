//! A profile as a flame graph: what took the threads' time, as wide as it took.
//!
//! In: profiles with their names. Out: SVG, one file, no script. Never: text that is not escaped.

use std::fmt::Write;

use super::{PipelineReport, ProfileReport};

const WIDTH: f64 = 1_200.0;
const ROW: f64 = 20.0;
/// Narrower boxes are left out.
const WIDTH_MIN: f64 = 0.5;
/// Width of a letter, about.
const LETTER: f64 = 7.0;

/// A box, and those that stand on it.
struct Frame {
    name: String,
    seconds: f64,
    children: Vec<Frame>,
}

/// The flame graph of these statements: each stands on all, its stages (on a cluster) or its pipelines on it, their steps on them.
pub fn flame_graph(profiles: &[(String, ProfileReport)]) -> String {
    let frame = |name: String, children: Vec<Frame>| {
        let seconds = children.iter().map(|child| child.seconds).sum();
        Frame { name, seconds, children }
    };
    let statements = profiles.iter().map(|(name, report)| {
        let pipelines = |pipelines: &[PipelineReport]| -> Vec<Frame> {
            let pipelines = pipelines.iter().map(|pipeline| {
                let steps = pipeline.steps.iter();
                let steps =
                    steps.map(|step| Frame { name: step.name.clone(), seconds: step.seconds, children: Vec::new() });
                frame(pipeline.name.clone(), steps.collect())
            });
            pipelines.collect()
        };
        let stages = report.stages.iter().map(|stage| frame(stage.name.clone(), pipelines(&stage.pipelines)));
        frame(name.clone(), pipelines(&report.pipelines).into_iter().chain(stages).collect())
    });
    let root = frame("all threads".to_owned(), statements.collect());
    let levels: u8 = if profiles.iter().any(|(_, report)| !report.stages.is_empty()) { 5 } else { 4 };
    let height = f64::from(levels) * ROW;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"monospace\" font-size=\"11\">\n"
    );
    let scale = if root.seconds > 0.0 { WIDTH / root.seconds } else { 0.0 };
    draw(&root, &Place { x: 0.0, depth: 0, levels, scale, all: root.seconds }, &mut svg);
    svg.push_str("</svg>\n");
    svg
}

struct Place {
    x: f64,
    depth: u8,
    /// How many there are.
    levels: u8,
    /// Width of a second.
    scale: f64,
    all: f64,
}

fn draw(frame: &Frame, place: &Place, svg: &mut String) {
    let (width, y) = (frame.seconds * place.scale, f64::from(place.levels - 1 - place.depth) * ROW);
    if width < WIDTH_MIN {
        return;
    }
    let share = 100.0 * frame.seconds / place.all;
    let letters = (width / LETTER) as usize;
    let shown: String = frame.name.chars().take(letters).collect();
    let hue = [40, 30, 20, 10][usize::from(place.depth.min(3))];
    let _ = writeln!(
        svg,
        "<g><title>{}: {:.3} s, {share:.1} %</title><rect x=\"{:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"{}\" fill=\"hsl({hue},80%,65%)\" \
         stroke=\"white\"/><text x=\"{:.1}\" y=\"{}\">{}</text></g>",
        escaped(&frame.name),
        frame.seconds,
        place.x,
        ROW - 1.0,
        place.x + 3.0,
        y + 14.0,
        escaped(&shown),
    );
    let mut x = place.x;
    for child in &frame.children {
        draw(child, &Place { x, depth: place.depth + 1, ..*place }, svg);
        x += child.seconds * place.scale;
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::StepReport;

    #[test]
    fn boxes_are_as_wide_as_their_time() {
        let step = |name: &str, seconds| StepReport { name: name.to_owned(), seconds, rows: 1, bytes: 1 };
        let pipeline = PipelineReport {
            name: "pipeline 0".to_owned(),
            steps: vec![step("scan t where a < 3 & b", 3.0), step("sink", 1.0), step("nothing", 0.0)],
            ..PipelineReport::default()
        };
        let report = ProfileReport { pipelines: vec![pipeline], ..ProfileReport::default() };
        let svg = flame_graph(&[("select".to_owned(), report)]);
        assert!(svg.contains("<title>scan t where a &lt; 3 &amp; b: 3.000 s, 75.0 %</title>"), "{svg}");
        assert!(svg.contains("x=\"900.0\" y=\"0\" width=\"300.0\""), "{svg}");
        assert!(!svg.contains("nothing") && svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        assert!(flame_graph(&[]).contains("</svg>"));
    }
}
