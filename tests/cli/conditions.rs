//! The manual says which fields of `run.json` a condition is about, and that is what it measures.

use std::collections::BTreeSet;

use ringpost::run::{Conditions, Run};
use serde_json::{Value, json};

use super::manual::{page, rows};

/// A run in an open loop whose figures all differ.
fn run() -> Value {
    let mut run = serde_json::to_value(Run::default()).unwrap();
    let time = |p50: u64| json!({ "p50": p50, "min": p50 / 2, "max": p50 * 3, "count": 900 });
    let rcpt = json!({
        "latency_ns": time(7_000), "replies": { "250": 71, "451": 37, "550": 29 }, "enhanced": {}
    });
    let told = json!({
        "messages_due": 1_009, "messages_ok": 907, "messages_failed": 102, "messages_refused_4xx": 31,
        "messages_refused_5xx": 28, "messages_unanswered": 43, "messages_partly_ok": 11,
        "recipients_asked": 2_003, "recipients": 1_511, "recipients_refused_4xx": 13,
        "recipients_refused_5xx": 19, "connections_opened": 41, "connections_never_greeted": 3,
        "errors": { "timeout": 5, "auth": 2 }, "replies": { "250": 503, "451": 67, "550": 59 },
        "phases": { "rcpt": rcpt }, "rate_msg_s": 453.5, "cpu_busy": 0.375, "elapsed_s": 2.0,
        "response_ns": time(9_000), "service_ns": time(8_000), "send_lag_ns": time(1_000),
        "own_lag_ns": time(600), "misbehaviour": [misbehaviour(2, 17), misbehaviour(4, 23)],
    });
    for (field, value) in told.as_object().unwrap() {
        run[field] = value.clone();
    }
    run
}

fn misbehaviour(wrong: u64, sessions: u64) -> Value {
    let mut one = serde_json::to_value(ringpost::measure::Misbehaviour::default()).unwrap();
    (one["wrong"], one["sessions"]) = (wrong.into(), sessions.into());
    one
}

/// The sum of what is at `path`; of a list, of what is there in each.
fn sum(value: &Value, path: &str) -> f64 {
    if let Some(list) = value.as_array() {
        return list.iter().map(|one| sum(one, path)).sum();
    }
    match (path.split_once('.'), value) {
        (Some((head, rest)), _) => sum(&value[head], rest),
        (None, _) if !path.is_empty() => sum(&value[path], ""),
        (None, Value::Object(members)) => members.values().map(|one| sum(one, "")).sum(),
        (None, number) => number.as_f64().unwrap_or_else(|| panic!("no number: {number}")),
    }
}

/// The words in code of a cell, with one of each in the places that stand for several.
fn named(cell: &str) -> Vec<String> {
    let code = cell.split('`').skip(1).step_by(2);
    code.map(|code| code.replace("KIND", "timeout").replace("CODE", "451").replace("PHASE", "rcpt"))
        .collect()
}

fn measured(run: &Run, condition: &str) -> f64 {
    let conditions: Conditions = condition.parse().unwrap_or_else(|why| panic!("{why}"));
    conditions.judge(run)[0].measured.unwrap_or_else(|| panic!("{condition} is unknown"))
}

#[test]
fn each_condition_measures_the_fields_that_the_manual_names() {
    let told = run();
    let run: Run = serde_json::from_value(told.clone()).unwrap();
    let table = rows(&page("blast"), "condition");
    assert!(table.len() > 20);
    for row in &table {
        let figure = &named(&row[0])[0];
        let (fields, whole) = row[1].split_once(", of ").unwrap_or((&row[1], ""));
        let value: f64 = named(fields).iter().map(|path| sum(&told, path)).sum();
        assert!(value > 0.0, "{row:?} is told");
        let near = |measured: f64, expected: f64| {
            assert!(
                (measured - expected).abs() < 1e-9 * expected,
                "{row:?}: {measured}, {expected}"
            );
        };
        match (whole, figure.as_str()) {
            ("one", _) => near(measured(&run, &format!("{figure}>0%")), value * 100.0),
            ("", "rate") => near(measured(&run, "rate>0"), value),
            ("", _) => near(measured(&run, &format!("{figure}>0ns")), value),
            (whole, _) => {
                let whole = sum(&told, &named(whole)[0]);
                near(measured(&run, &format!("{figure}>0")), value);
                near(measured(&run, &format!("{figure}>0%")), value * 100.0 / whole);
            }
        }
    }
}

/// Those of a whole run, and the times and the sets of several.
#[test]
fn the_table_of_conditions_has_each_figure_and_no_other() {
    let why = "x>0".parse::<Conditions>().unwrap_err().to_string();
    let plain = why.split("; ").find(|part| part.starts_with("rate ")).unwrap().split(' ');
    let several =
        ["p50", "response.p50", "service.p50", "send_lag.p50", "own_lag.p50", "PHASE.p50"];
    let several = several.into_iter().chain(["errors.KIND", "replies.CODE", "PHASE.replies.CODE"]);
    let known: BTreeSet<&str> = plain.chain(several).collect();
    let page = page("blast");
    let table = rows(&page, "condition");
    let told = table.iter().map(|row| row[0].split('`').nth(1).unwrap()).collect();
    assert_eq!(known, told);
}
