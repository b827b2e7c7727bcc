//! Two percentile curves in one drawing, in characters.

use hdrhistogram::Histogram;

use crate::human;

const WIDTH: usize = 64;
const HEIGHT: usize = 14;

/// Lines of a drawing: percentiles to the right, one step per nine, latency upwards on a log scale.
/// `A` and `B` are the runs, `*` where both are.
pub(super) fn lines(a: &Histogram<u64>, b: &Histogram<u64>) -> Vec<String> {
    // Beyond one in as many as there are samples, percentiles are all the maximum.
    let nines = (a.len().min(b.len()).max(10) as f64).log10().min(7.0);
    let low = a.min().min(b.min()).max(1) as f64;
    let high = (a.max().max(b.max()) as f64).max(low * 1.01);
    let mut grid = vec![[' '; WIDTH]; HEIGHT];
    for (column, x) in (0..WIDTH).map(|n| (n, nines * n as f64 / (WIDTH - 1) as f64)) {
        for (sign, histogram) in [('A', a), ('B', b)] {
            let value = histogram.value_at_quantile(1.0 - 10f64.powf(-x)).max(1) as f64;
            let share = (value / low).ln() / (high / low).ln();
            let row = HEIGHT - 1 - (share.clamp(0.0, 1.0) * (HEIGHT - 1) as f64).round() as usize;
            let place = &mut grid[row][column];
            *place = if *place == ' ' { sign } else { '*' };
        }
    }
    let label = |row: usize| {
        let share = (HEIGHT - 1 - row) as f64 / (HEIGHT - 1) as f64;
        human::latency((low * (high / low).powf(share)).round() as u64)
    };
    let mut lines: Vec<String> = grid
        .iter()
        .enumerate()
        .map(|(row, cells)| {
            let name = if row % 3 == 1 { label(row) } else { String::new() };
            let cells: String = cells.iter().collect();
            format!("{name:>9} │{}", cells.trim_end())
        })
        .collect();
    lines.push(format!("{:>9} └{}", "", "─".repeat(WIDTH)));
    lines.push(ticks(nines));
    lines
}

fn ticks(nines: f64) -> String {
    let names = ["0 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %", "99.9999 %"];
    let mut line = " ".repeat(11);
    for (nine, name) in names.iter().enumerate().take_while(|(nine, _)| *nine as f64 <= nines) {
        let column = 11 + ((WIDTH - 1) as f64 * nine as f64 / nines).round() as usize;
        let start = column.saturating_sub(name.len() / 2).max(11);
        if line.chars().count() < start || nine == 0 {
            line += &" ".repeat(start - line.chars().count());
            line += name;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slower_run_is_above_and_equal_ones_are_stars() {
        let mut fast = Histogram::new_with_bounds(1, 1_000_000_000, 3).unwrap();
        let mut slow = fast.clone();
        for n in 1..=1_000u64 {
            fast.record(n * 1_000).unwrap();
            slow.record(n * 4_000).unwrap();
        }
        let drawn = lines(&fast, &slow);
        let height = |sign| drawn.iter().position(|line| line.contains(sign)).unwrap();
        assert!(height('B') < height('A'));
        assert!(drawn.last().unwrap().ends_with("99.9 %"), "{drawn:#?}");
        let same = lines(&fast, &fast).concat();
        assert!(same.contains('*') && !same.contains(['A', 'B']));
    }
}
