//! The plan as the result carries it.

use super::content;
use super::plan::{Load, Plan, Stop};
use super::targets::Weighted;
use crate::run::{self, PlannedTarget};
use crate::smtp::auth::Mechanism;
use crate::smtp::client::Pipelining;

fn planned(of: &Weighted) -> PlannedTarget {
    PlannedTarget { target: of.target.url.clone(), weight: of.weight }
}

/// The plan as the result carries it.
pub(super) fn describe(plan: &Plan) -> run::Plan {
    let schedule = plan.schedule();
    let (messages, duration) = match plan.stop {
        Stop::Messages(messages) => (Some(messages), None),
        Stop::Duration(duration) => (None, Some(duration.as_secs_f64())),
    };
    let pipelining = match plan.pipelining {
        Pipelining::None => "none",
        Pipelining::Commands => "commands",
        Pipelining::Full => "full",
    };
    run::Plan {
        command: plan.command.clone(),
        target: plan.targets.names(),
        targets: plan
            .targets
            .all()
            .iter()
            .filter(|_| plan.targets.several())
            .map(planned)
            .collect(),
        connections: plan.connections as u64,
        cores: plan.cores() as u64,
        messages,
        duration_s: duration,
        warmup_s: plan.warmup.as_secs_f64(),
        cooldown_s: plan.cooldown.as_secs_f64(),
        rate_msg_s: plan.mean_rate(),
        rate: schedule.map(|schedule| schedule.profile.to_string()),
        arrivals: schedule.map(|schedule| schedule.spacing.name().to_owned()),
        arrivals_of: match plan.load {
            Load::Closed => None,
            Load::Messages(_) => Some("messages".to_owned()),
            Load::Sessions(_) => Some("sessions".to_owned()),
        },
        size: plan.content.sizes(),
        recipients: plan.content.recipients.mean().round() as u64,
        per_connection: plan.per_connection.map(|(least, most)| least.midpoint(most)),
        think: plan.think.map(|think| think.to_string()),
        misbehave: (!plan.misbehave.is_empty()).then(|| plan.misbehave.to_string()),
        pipelining: pipelining.to_owned(),
        chunking: plan.chunking,
        depth: plan.depth as u64,
        tls: "none".to_owned(),
        auth: plan
            .login
            .as_ref()
            .map(|login| login.mechanism().map_or("best offered", Mechanism::name).to_owned()),
        hello: plan.hello.name().to_owned(),
        helo: plan.helo.clone(),
        from: content::in_words(&plan.content.from),
        to: content::in_words(&plan.content.to),
        seed: plan.content.seed,
    }
}
