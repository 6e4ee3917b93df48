//! The figures as a table.

use crate::figures::{Bar, Figures};

const COLUMNS: [&str; 7] = ["name", "unit", "ours", "peer", "ratio", "bar", "met?"];

/// Columns of text are aligned left, those of numbers right.
const TEXT: [usize; 2] = [0, 1];

/// The table as text, and the names of the figures that miss their bars.
pub fn of(figures: &Figures) -> (String, Vec<&'static str>) {
    let mut rows = vec![COLUMNS.map(str::to_owned)];
    let mut missed = Vec::new();
    for (figure, samples) in figures.measured() {
        let medians = samples.medians();
        let met = samples.meets(figure.bar);
        if met == Some(false) {
            missed.push(figure.name);
        }
        let unit = figure.unit;
        rows.push([
            figure.name.to_owned(),
            unit.to_owned(),
            format!("{:.2}", medians.ours),
            number(medians.peer),
            number(medians.ratio()),
            match figure.bar {
                Bar::None => "–".to_owned(),
                Bar::Ratio(bar) => format!("{bar:.2}"),
                Bar::Ours(bar) => format!("{bar} {unit}"),
            },
            met.map_or("–", |met| if met { "yes" } else { "NO" }).to_owned(),
        ]);
    }
    (laid_out(&rows), missed)
}

fn number(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), |value| format!("{value:.2}"))
}

fn laid_out(rows: &[[String; 7]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
    let mut lines = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let cells: Vec<String> = (row.iter().zip(&widths).enumerate())
            .map(|(column, (cell, width))| match TEXT.contains(&column) {
                true => format!("{cell:<width$}"),
                false => format!("{cell:>width$}"),
            })
            .collect();
        lines.push(format!("  {}", cells.join("  ")).trim_end().to_owned());
        if number == 0 {
            lines.push(format!("  {}", widths.iter().map(|width| "─".repeat(*width)).collect::<Vec<_>>().join("  ")));
        }
    }
    lines.join("\n") + "\n"
}
