//! `ringpost-blast selftest`.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;

use super::Error;
use crate::blast::selftest::{Proof, TOLERANCE, Trial};
use crate::cli::exit;
use crate::cli::value::{self, IoArg};
use crate::engine;
use crate::human;
use crate::notice::notice;
use crate::run::Verdict;

/// Prove that response time shows a stall that service time and closed loops hide
///
/// Serves SMTP on a port of its own, stands still for a known part of each period, computes what
/// response times must follow, and compares. Exit status 1 when a percentile is off by more than 5 %, and 4
/// when that is so because other programs had the CPU.
#[derive(Debug, Args)]
pub(super) struct SelftestArgs {
    /// How long the server stops
    #[arg(long, value_name = "DURATION", value_parser = value::span, default_value = "1s")]
    stall: Duration,
    /// How often it stops
    #[arg(long, value_name = "DURATION", value_parser = value::span, default_value = "10s")]
    every: Duration,
    /// Periods to measure
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=360))]
    periods: u32,
    /// Messages per second
    #[arg(short = 'q', long, value_name = "N", default_value_t = 1000,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Number of open connections
    #[arg(short, long, value_name = "N", default_value_t = 16, value_parser = value::at_least_one)]
    connections: usize,
    /// Kernel interface of the generator
    #[arg(long, value_enum, value_name = "ENGINE", default_value = "auto")]
    io: IoArg,
    /// Print the result as one JSON object instead of text
    #[arg(long)]
    json: bool,
}

impl SelftestArgs {
    pub(super) fn run(self) -> Result<Verdict, Error> {
        let (engine, _) = engine::choose(self.io.into())?;
        let trial = Trial {
            stall: self.stall,
            period: self.every,
            periods: self.periods,
            rate: self.rate.into(),
            connections: self.connections,
            engine,
        };
        notice!(
            "self-test: {} s with the schedule, {} s in a closed loop",
            (self.every * self.periods).as_secs_f64(),
            self.every.as_secs_f64()
        );
        let proof = trial.run()?;
        if self.json {
            let json =
                serde_json::to_string(&proof).map_err(|error| Error::Report(error.into()))?;
            exit::tell_json(json + "\n").map_err(Error::Report)?;
        } else {
            exit::tell(text(&proof)).map_err(Error::Report)?;
        }
        Ok(match proof.passed {
            true => Verdict::Ok,
            false if proof.is_disturbed() => Verdict::GeneratorLimited,
            false => Verdict::ThresholdFailed,
        })
    }
}

fn text(proof: &Proof) -> String {
    let mut text = format!(
        "a server that stands still for {} in every {}, {} messages/s on {}\n\n",
        human::seconds(proof.stall_s),
        human::seconds(proof.period_s),
        human::rate(proof.rate_msg_s),
        human::counted(proof.connections as u64, "connection")
    );
    let head = ["", "computed", "response", "off", "service", "closed loop"];
    let row = |text: &mut String, cells: [&str; 6]| {
        let [name, cells @ ..] = cells;
        let _ = write!(text, "  {name:<7}");
        for cell in cells {
            let _ = write!(text, "{cell:>13}");
        }
        text.push('\n');
    };
    row(&mut text, head);
    for one in &proof.compared {
        let name = format!("p{}", (one.quantile * 1_000.0).round() / 10.0);
        let ns = [one.computed_ns, one.measured_ns, one.service_ns, one.closed_ns];
        let [computed, measured, service, closed] = ns.map(human::latency);
        let off = format!("{:+.1} %", one.off * 100.0);
        row(&mut text, [&name, &computed, &measured, &off, &service, &closed]);
    }
    let _ = write!(
        text,
        "\nresponse     {}, each counted from when it was due\n\
         service      the same messages, counted from when they were sent\n\
         closed loop  {}; only {} of them can meet a stall\n\n",
        human::counted(proof.messages, "message"),
        human::counted(proof.closed_messages, "message"),
        proof.connections
    );
    let allowed = TOLERANCE * 100.0;
    let _ = match proof.passed {
        true => writeln!(text, "PASSED: within {allowed} % of the computed values"),
        false if proof.is_disturbed() => writeln!(
            text,
            "NOTHING PROVEN: other programs had the CPU, of the server for {}, and the generator says \
             {}; try again on a machine that is not busy",
            human::latency(proof.server_wait_ns),
            proof.verdict.name()
        ),
        false => writeln!(
            text,
            "FAILED: more than {allowed} % off, or nothing was hidden; the generator says {}",
            proof.verdict.name()
        ),
    };
    text
}
