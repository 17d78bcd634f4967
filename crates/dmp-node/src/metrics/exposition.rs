//! The text formats of Prometheus 0.0.4 and OpenMetrics 1.0.
//!
//! Own code: the crates for it write OpenMetrics only, and node.md 6.7 fixes the older format to the octet.

use super::histogram::Snapshot;
use std::fmt::Write;

/// Which of the two formats is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    OpenMetrics,
}

impl Format {
    /// OpenMetrics only for a scraper that asks for it.
    pub(crate) fn wanted_by(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }

    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Counter,
    Gauge,
    Histogram,
}

/// Families as they are collected.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    families: Vec<Family>,
}

/// One family: a name, its help, and samples under labels.
#[derive(Debug)]
pub(super) struct Family {
    name: &'static str,
    help: &'static str,
    kind: Type,
    /// Suffix of the name, labels as written, value.
    samples: Vec<(&'static str, String, f64)>,
}

impl Exposition {
    pub(super) fn counter(&mut self, name: &'static str, help: &'static str) -> &mut Family {
        self.family(name, help, Type::Counter)
    }

    pub(super) fn gauge(&mut self, name: &'static str, help: &'static str) -> &mut Family {
        self.family(name, help, Type::Gauge)
    }

    pub(super) fn histogram(&mut self, name: &'static str, help: &'static str) -> &mut Family {
        self.family(name, help, Type::Histogram)
    }

    fn family(&mut self, name: &'static str, help: &'static str, kind: Type) -> &mut Family {
        self.families.push(Family {
            name,
            help,
            kind,
            samples: Vec::new(),
        });
        let last = self.families.len() - 1;
        &mut self.families[last]
    }

    /// All families, by name.
    pub(super) fn render(mut self, format: Format) -> String {
        self.families.sort_by_key(|family| family.name);
        let mut out = String::new();
        for family in &self.families {
            family.render(format, &mut out);
        }
        if format == Format::OpenMetrics {
            out.push_str("# EOF\n");
        }
        out
    }
}

impl Family {
    /// A value under labels.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: f64) -> &mut Self {
        self.samples.push(("", written(labels), value));
        self
    }

    /// A count under labels; beyond 2^53 the last digits are lost, as in every Prometheus value.
    pub(super) fn count(&mut self, labels: &[(&str, &str)], value: u64) -> &mut Self {
        self.sample(labels, value as f64)
    }

    /// A histogram under labels, with `unit` of its whole numbers to one of what the name says.
    pub(super) fn observations(
        &mut self,
        labels: &[(&str, &str)],
        snapshot: &Snapshot,
        unit: f64,
    ) -> &mut Self {
        for (bound, count) in &snapshot.cumulative {
            let bound = number(*bound as f64 / unit);
            self.bucket(labels, &bound, *count);
        }
        self.bucket(labels, "+Inf", snapshot.count);
        let count = snapshot.count as f64;
        self.samples.push(("_count", written(labels), count));
        let sum = snapshot.sum as f64 / unit;
        self.samples.push(("_sum", written(labels), sum));
        self
    }

    fn bucket(&mut self, labels: &[(&str, &str)], bound: &str, count: u64) {
        let labels = [labels, &[("le", bound)]].concat();
        self.samples
            .push(("_bucket", written(&labels), count as f64));
    }

    fn render(&self, format: Format, out: &mut String) {
        let kind = match self.kind {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
            Type::Histogram => "histogram",
        };
        let name = match format {
            Format::Text => self.name,
            Format::OpenMetrics => self.name.strip_suffix("_total").unwrap_or(self.name),
        };
        let mut samples: Vec<_> = self.samples.iter().collect();
        if self.kind != Type::Histogram {
            samples.sort_by(|a, b| a.1.cmp(&b.1));
        }
        // Writing to a string does not fail.
        let _ = writeln!(out, "# HELP {name} {}", self.help);
        let _ = writeln!(out, "# TYPE {name} {kind}");
        for (suffix, labels, value) in samples {
            let _ = writeln!(out, "{}{suffix}{labels} {}", self.name, number(*value));
        }
    }
}

/// `{name="value",...}`, or nothing without labels.
fn written(labels: &[(&str, &str)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let labels = labels
        .iter()
        .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)));
    format!("{{{}}}", labels.collect::<Vec<_>>().join(","))
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// Always with a point, as `3.0`.
fn number(value: f64) -> String {
    format!("{value:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(format: Format) -> String {
        let mut exposition = Exposition::default();
        exposition
            .gauge("b_gauge", "Second")
            .sample(&[], 0.5)
            .sample(&[("z", "1")], 2.0)
            .sample(&[("a", "q\"b\\s\nn")], 1.0);
        exposition.counter("a_total", "First").count(&[], 3);
        let snapshot = Snapshot {
            cumulative: vec![(1_000_000, 1), (2_500_000_000, 2)],
            count: 4,
            sum: 7_000_000_000,
        };
        exposition.histogram("c_seconds", "Third").observations(
            &[("proto", "udp")],
            &snapshot,
            1e9,
        );
        exposition.render(format)
    }

    #[test]
    fn families_and_samples_are_sorted_and_values_are_floats() {
        let expected = "\
# HELP a_total First
# TYPE a_total counter
a_total 3.0
# HELP b_gauge Second
# TYPE b_gauge gauge
b_gauge 0.5
b_gauge{a=\"q\\\"b\\\\s\\nn\"} 1.0
b_gauge{z=\"1\"} 2.0
# HELP c_seconds Third
# TYPE c_seconds histogram
c_seconds_bucket{proto=\"udp\",le=\"0.001\"} 1.0
c_seconds_bucket{proto=\"udp\",le=\"2.5\"} 2.0
c_seconds_bucket{proto=\"udp\",le=\"+Inf\"} 4.0
c_seconds_count{proto=\"udp\"} 4.0
c_seconds_sum{proto=\"udp\"} 7.0
";
        assert_eq!(example(Format::Text), expected);
    }

    #[test]
    fn openmetrics_names_counters_without_their_suffix_and_has_an_end() {
        let text = example(Format::OpenMetrics);
        assert!(text.starts_with("# HELP a First\n# TYPE a counter\na_total 3.0\n"));
        assert!(text.ends_with("\n# EOF\n"));
        assert_eq!(
            Format::wanted_by("text/plain;q=0.5, application/openmetrics-text;version=1.0.0"),
            Format::OpenMetrics
        );
        assert_eq!(Format::wanted_by("*/*"), Format::Text);
    }
}
