//! What a run was asked for, as `run.json` tells it.

use serde::{Deserialize, Serialize};

/// What was asked for, complete enough to repeat the run.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RunPlan {
    /// The command line as given, with secrets replaced by the caller.
    pub command: Vec<String>,
    /// What the user calls the run, and wrote about it (`--name`, `--note`); of a sum, all of them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// As a URL: `smtp://127.0.0.1:1025`; of several, all with commas between them.
    pub target: String,
    /// Several targets and their weights; empty for one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<PlannedTarget>,
    pub connections: u64,
    pub cores: u64,
    /// `None` where the duration ends the run.
    pub messages: Option<u64>,
    pub duration_s: Option<f64>,
    pub warmup_s: f64,
    #[serde(default)]
    pub cooldown_s: f64,
    /// Mean over the measured time, of messages or of sessions; `None` in a closed loop.
    pub rate_msg_s: Option<f64>,
    /// As given, with its ramps and steps.
    #[serde(default)]
    pub rate: Option<String>,
    /// What `rate` is a rate of: `messages` or `sessions`.
    #[serde(default)]
    pub arrivals_of: Option<String>,
    /// `constant` or `poisson`; `None` in a closed loop.
    pub arrivals: Option<String>,
    /// Per cent of the response time that the generator's own lag may be (`--lag-limit`); absent for 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_limit_percent: Option<f64>,
    /// As given: `1024` or `512..4096`, in octets.
    pub size: String,
    pub recipients: u64,
    /// `None` for as many as the connection takes; the mean where a range was given.
    pub per_connection: Option<u64>,
    /// Pause between the messages of a session, as given.
    #[serde(default)]
    pub think: Option<String>,
    /// Clients that misbehave beside the connections, as given.
    #[serde(default)]
    pub misbehave: Option<String>,
    /// `none`, `commands` or `full`.
    pub pipelining: String,
    pub chunking: bool,
    pub depth: u64,
    /// `none`, `starttls`, `opportunistic` or `implicit`; of targets that differ in it, all with commas between
    /// them.
    pub tls: String,
    /// No certificate was verified (`--tls-insecure`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tls_insecure: bool,
    /// Per cent of the sessions that were to be under TLS (`--tls-share`); absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_share_percent: Option<f64>,
    /// Per cent of the handshakes that were to resume a session (`--tls-resume`); absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_resume_percent: Option<f64>,
    /// The mechanism; never the secret.
    pub auth: Option<String>,
    /// `ehlo`, `helo` or `none`; empty where an older version did not say.
    #[serde(default)]
    pub hello: String,
    pub helo: String,
    pub from: String,
    pub to: String,
    pub seed: u64,
    /// Options that change what is sent or how, and have no field above, as they were given;
    /// `--per-connection 1..5` is here beside its mean. A list from a file is shown by its CRC-32C.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

impl RunPlan {
    /// Whether a session was to be under TLS.
    pub(super) fn asks_for_tls(&self) -> bool {
        !matches!(&*self.tls, "" | "none")
    }
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PlannedTarget {
    pub target: String,
    /// Its part of the sessions, beside the weights of the others.
    pub weight: u32,
}
