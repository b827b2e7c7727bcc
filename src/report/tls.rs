//! What a run did under TLS, for the text and the page.

use crate::human::{self, counted};
use crate::measure::TlsAgreement;
use crate::run::Run;

/// The handshakes with what was asked of them, what they agreed on, and whether anybody was verified.
pub(super) fn rows(run: &Run) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    if let Some(tls) = &run.tls {
        let (handshakes, sessions) = (tls.full + tls.resumed, tls.full + tls.resumed + tls.plain);
        let resumed = share(tls.resume_percent, run.plan.tls_resume_percent);
        let mut told = counted(handshakes, "handshake");
        if handshakes > 0 {
            told += &format!(", {} resumed ({resumed})", human::count(tls.resumed));
        }
        rows.push(("TLS", told));
        if tls.plain > 0 || run.plan.tls_share_percent.is_some() {
            let share = share(tls.share_percent, run.plan.tls_share_percent);
            let plain = human::count(tls.plain);
            let of = counted(sessions, "session");
            rows.push(("plain text", format!("{plain} of {of}; under TLS {share}")));
        }
        rows.extend(tls.agreed.iter().map(|agreed| ("agreed on", agreement(agreed))));
    }
    if run.plan.tls_insecure {
        let told = "of no server were verified (--tls-insecure)";
        rows.push(("certificates", told.to_owned()));
    }
    rows
}

/// `89.9 %, 90 % asked for`.
fn share(reached: Option<f64>, asked: Option<f64>) -> String {
    let reached = human::known(reached, percent);
    match asked {
        Some(asked) => format!("{reached}, {} asked for", percent(asked)),
        None => reached,
    }
}

/// With one decimal, unless it is nothing: what was asked for is compared with it.
fn percent(percent: f64) -> String {
    let rounded = format!("{percent:.1}");
    format!("{} %", rounded.strip_suffix(".0").unwrap_or(&rounded))
}

/// `TLSv1.3 TLS_AES_128_GCM_SHA256 x25519: 412`.
fn agreement(agreed: &TlsAgreement) -> String {
    let TlsAgreement { version, suite, group, full, resumed } = agreed;
    let group = group.as_deref().unwrap_or("no key exchange");
    format!("{version} {suite} {group}: {}", human::count(full + resumed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{RunPlan, TlsResult};

    fn run() -> Run {
        let agreed = |version: &str, group: Option<&str>, full, resumed| TlsAgreement {
            version: version.to_owned(),
            suite: "S".to_owned(),
            group: group.map(str::to_owned),
            full,
            resumed,
        };
        let tls = TlsResult {
            full: 10,
            resumed: 90,
            plain: 25,
            share_percent: Some(80.0),
            resume_percent: Some(90.0),
            agreed: vec![agreed("TLSv1.2", None, 0, 1), agreed("TLSv1.3", Some("g"), 10, 89)],
        };
        Run { tls: Some(tls), ..Run::default() }
    }

    #[test]
    fn what_was_asked_for_stands_beside_what_was_reached() {
        let text = |run: &Run| {
            let rows = rows(run).into_iter().map(|(name, value)| format!("{name}: {value}"));
            rows.collect::<Vec<_>>().join("\n")
        };
        let told = text(&run());
        for part in [
            "TLS: 100 handshakes, 90 resumed (90 %)",
            "plain text: 25 of 125 sessions; under TLS 80 %",
            "agreed on: TLSv1.2 S no key exchange: 1",
            "agreed on: TLSv1.3 S g: 99",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(!told.contains("asked") && !told.contains("verified"), "{told}");
        let plan = RunPlan {
            tls_insecure: true,
            tls_share_percent: Some(85.0),
            tls_resume_percent: Some(92.5),
            ..RunPlan::default()
        };
        let told = text(&Run { plan, ..run() });
        for part in ["90 %, 92.5 % asked for", "80 %, 85 % asked for", "--tls-insecure"] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert_eq!(rows(&Run::default()), []);
    }
}
