//! Who has heard of whom, drawn: nodes on a circle, a line for each pair. SVG inside the page, without a script.

use std::collections::HashMap;
use std::f64::consts::TAU;
use std::fmt::Write;

use dmp_core::id::UnixTime;

use super::Survey;
use super::page::{Liveness, escaped, host_of};
use crate::limits::DIRECTORY_GRAPH_NODES;

/// Width and height of the drawing; the page scales it.
const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 540.0;
const RADIUS: f64 = 220.0;
/// Characters of a host beside its node.
const LABEL: usize = 26;

/// The drawing of the newest nodes; `None` if there is nobody.
pub(super) fn graph(survey: &Survey, now: UnixTime) -> Option<String> {
    let nodes = survey.nodes.iter().take(DIRECTORY_GRAPH_NODES);
    let nodes: Vec<_> = nodes.collect();
    if nodes.is_empty() {
        return None;
    }
    let place = |index: usize| {
        let turn = TAU * index as f64 / nodes.len() as f64 - TAU / 4.0;
        (turn.cos(), turn.sin())
    };
    let at = |index: usize, radius: f64| {
        let (x, y) = place(index);
        (WIDTH / 2.0 + radius * x, HEIGHT / 2.0 + radius * y)
    };
    let operators: HashMap<_, _> = nodes
        .iter()
        .enumerate()
        .rev()
        .map(|(index, node)| (node.beat.heartbeat.operator, index))
        .collect();
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"Who has heard of whom\">\n"
    );
    for edge in &survey.edges {
        if let (Some(from), Some(to)) = (operators.get(&edge.from), operators.get(&edge.to)) {
            let ((x1, y1), (x2, y2)) = (at(*from, RADIUS), at(*to, RADIUS));
            let _ = writeln!(
                svg,
                "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
            );
        }
    }
    for (index, node) in nodes.iter().enumerate() {
        let heartbeat = &node.beat.heartbeat;
        let (x, y) = at(index, RADIUS);
        let (label_x, label_y) = at(index, RADIUS + 16.0);
        let anchor = match place(index).0 {
            x if x > 0.1 => "start",
            x if x < -0.1 => "end",
            _ => "middle",
        };
        let lift = 5.0 + 7.0 * place(index).1;
        let host = host_of(heartbeat.endpoint.as_str());
        let mut label: String = host.chars().take(LABEL).collect();
        if label.len() < host.len() {
            label.push('…');
        }
        let _ = writeln!(
            svg,
            "<g class=\"{}\"><title>{} {}</title><circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"7\"/>\
             <text x=\"{label_x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text></g>",
            Liveness::of(&node.beat, now).word(),
            escaped(heartbeat.endpoint.as_str()),
            node.beat.short_operator(),
            label_y + lift,
            escaped(&label)
        );
    }
    svg.push_str("</svg>\n");
    Some(svg)
}
