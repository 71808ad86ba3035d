//! Plots a run: reserved bytes against the limit, and the requests of the good peers.

use crate::watch::Sample;
use plotters::coord::Shift;
use plotters::prelude::*;
use std::time::Duration;

const SIZE: (u32, u32) = (960, 720);
const FONT: &str = "sans-serif";
const BLUE: RGBColor = RGBColor(0x2B, 0x6C, 0xB0);
const RED: RGBColor = RGBColor(0xC5, 0x30, 0x30);
const GREY: RGBColor = RGBColor(0x71, 0x80, 0x96);

/// A panel of the plot, with time on the x axis.
struct Panel {
    title: &'static str,
    y: &'static str,
    /// Points: seconds, and a value.
    points: Vec<(f64, f64)>,
    levels: Vec<Level>,
}

/// A horizontal line, and how far above it its name is, in parts of the height.
struct Level {
    name: &'static str,
    at: f64,
    colour: RGBColor,
    above: f64,
}

/// The plot as SVG. The hostile peers connect at `attack`.
pub(crate) fn draw(record: &[Sample], limit: usize, peak: usize, attack: Duration) -> anyhow::Result<String> {
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    let over_time = |value: &dyn Fn(&Sample) -> f64| -> Vec<(f64, f64)> {
        record.iter().map(|sample| (sample.at.as_secs_f64(), value(sample))).collect()
    };
    let panels = [
        Panel {
            title: "What the node has reserved; the attack begins at the dashed line",
            y: "MiB",
            points: over_time(&|sample| mib(sample.reserved)),
            levels: vec![
                Level { name: "limit", at: mib(limit), colour: RED, above: 0.05 },
                Level { name: "most", at: mib(peak), colour: BLUE, above: -0.02 },
            ],
        },
        Panel {
            title: "Requests of good peers that were answered",
            y: "1/s",
            points: over_time(&|sample| sample.answered as f64 / sample.took.as_secs_f64()),
            levels: Vec::new(),
        },
        Panel {
            title: "The slowest of them in each tenth of a second",
            y: "ms",
            points: over_time(&|sample| sample.slowest.as_secs_f64() * 1000.0),
            levels: Vec::new(),
        },
    ];
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let (memory, rest) = root.split_vertically(SIZE.1 / 2);
        let (rate, slowest) = rest.split_vertically(SIZE.1 / 4);
        for (panel, area) in panels.iter().zip([memory, rate, slowest]) {
            panel.draw(&area, attack.as_secs_f64())?;
        }
        root.present()?;
    }
    Ok(svg)
}

impl Panel {
    fn draw(&self, area: &DrawingArea<SVGBackend<'_>, Shift>, attack: f64) -> anyhow::Result<()> {
        let (x, y) = (0.0..self.end(), 0.0..1.1 * self.highest());
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .caption(self.title, (FONT, 17))
            .x_label_area_size(28)
            .y_label_area_size(60)
            .build_cartesian_2d(x.clone(), y.clone())?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GREY.mix(0.2))
            .axis_style(GREY)
            .label_style((FONT, 13))
            .y_labels(5)
            .y_desc(self.y)
            .y_label_formatter(&|value| format!("{}", (value * 100.0).round() / 100.0))
            .x_label_formatter(&|seconds| format!("{seconds} s"))
            .draw()?;
        chart.draw_series(AreaSeries::new(self.points.iter().copied(), 0.0, BLUE.mix(0.2)).border_style(BLUE))?;
        if attack < x.end {
            chart.draw_series(DashedLineSeries::new([(attack, y.start), (attack, y.end)], 4, 4, GREY.into()))?;
        }
        for Level { name, at, colour, above } in &self.levels {
            chart.draw_series(LineSeries::new([(x.start, *at), (x.end, *at)], colour.stroke_width(2)))?;
            let label = format!("{name} {at:.2}");
            let style = (FONT, 13).into_font().color(colour);
            chart.draw_series([Text::new(label, (x.end * 0.9, at + above * y.end), style)])?;
        }
        Ok(())
    }

    fn end(&self) -> f64 {
        self.points.last().map_or(1.0, |(seconds, _)| *seconds)
    }

    fn highest(&self) -> f64 {
        let values = self.points.iter().map(|(_, value)| *value);
        values.chain(self.levels.iter().map(|level| level.at)).fold(f64::MIN_POSITIVE, f64::max)
    }
}
