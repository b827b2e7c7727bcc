//! How the sessions speak.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::auth::{self, LoginError};
use super::tls::TlsArgs;
use crate::blast::plan::{HELO_DEFAULT, Plan};
use crate::cli::value;
use crate::smtp::auth::Login;
use crate::smtp::client::{Hello, Pipelining};
use crate::smtp::params::On;

#[derive(Debug, Args)]
#[command(next_help_heading = "Protocol")]
pub(super) struct ProtocolArgs {
    /// A parameter for MAIL or for each RCPT, such as MAIL:RET=HDRS or RCPT:NOTIFY=NEVER. It is sent even
    /// if the server does not offer it. May be given more than once
    #[arg(long, value_name = "CMD:KEY[=VALUE]", value_parser = param)]
    param: Vec<Param>,
    /// How a connection starts
    #[arg(long, value_enum, value_name = "VERB", default_value = "ehlo")]
    hello: HelloArg,
    /// Name in EHLO, HELO or LHLO
    #[arg(long, value_name = "NAME", default_value = HELO_DEFAULT)]
    helo: String,
    /// What is sent in one write [default: none; full with --chunking]
    #[arg(long, value_enum, value_name = "MODE")]
    pipelining: Option<PipeliningArg>,
    /// Send messages with BDAT (RFC 3030) instead of DATA
    #[arg(long)]
    pub(super) chunking: bool,
    /// With --chunking: the number of messages that are sent before a reply is awaited
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value::at_least_one)]
    depth: usize,
    /// Log in at the start of each connection. MECH is SCRAM-SHA-256, CRAM-MD5, PLAIN, LOGIN, or
    /// OAUTHBEARER or XOAUTH2, for which PASS is the token [default: the first of the first four that is
    /// offered]
    #[arg(long, value_name = "USER:PASS[:MECH]", value_parser = auth::login)]
    auth: Option<Arc<Login>>,
    /// As --auth, but USER:PASS[:MECH] is the first line of this file, so that no list of processes shows
    /// it. Without both, the environment variable RINGPOST_AUTH holds it
    #[arg(long, value_name = "FILE", conflicts_with = "auth")]
    auth_file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) tls: TlsArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum HelloArg {
    /// EHLO, or HELO if the server does not know EHLO; LHLO for LMTP
    Ehlo,
    /// HELO, without extensions
    Helo,
    /// MAIL is the first command
    None,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PipeliningArg {
    /// One command
    None,
    /// MAIL, RCPT and DATA
    Commands,
    /// The message with its final dot, and the next MAIL, RCPT and DATA
    Full,
}

/// A parameter that the user gives, without the command it goes with.
#[derive(Clone, Debug)]
struct Param {
    on: On,
    word: String,
}

impl ProtocolArgs {
    pub(super) fn put_into(self, plan: &mut Plan) {
        plan.pipelining = self.pipelining();
        plan.hello = self.hello();
        plan.chunking = self.chunking;
        plan.depth = self.depth;
        plan.helo = self.helo;
    }

    /// The login of `--auth`, `--auth-file` or the environment, in this order.
    pub(super) fn login(&self) -> Result<Option<Arc<Login>>, LoginError> {
        match (&self.auth, &self.auth_file) {
            (Some(login), _) => Ok(Some(Arc::clone(login))),
            (None, Some(path)) => auth::read(path).map(Some),
            (None, None) => auth::from_environment(std::env::var_os(auth::VARIABLE)),
        }
    }

    fn pipelining(&self) -> Pipelining {
        match self.pipelining {
            Some(PipeliningArg::None) => Pipelining::None,
            Some(PipeliningArg::Commands) => Pipelining::Commands,
            Some(PipeliningArg::Full) => Pipelining::Full,
            None if self.chunking => Pipelining::Full,
            None => Pipelining::None,
        }
    }

    fn hello(&self) -> Hello {
        match self.hello {
            HelloArg::Ehlo => Hello::Extended,
            HelloArg::Helo => Hello::Plain,
            HelloArg::None => Hello::None,
        }
    }

    /// The words of `--param` for one command.
    pub(super) fn params(&self, on: On) -> Vec<String> {
        let of = self.param.iter().filter(|param| param.on == on);
        of.map(|param| param.word.clone()).collect()
    }
}

fn param(text: &str) -> Result<Param, String> {
    let (command, word) = text.split_once(':').unwrap_or_default();
    let on = match command.to_ascii_uppercase().as_str() {
        "MAIL" => On::Mail,
        "RCPT" => On::Rcpt,
        _ => return Err("write MAIL:KEY, MAIL:KEY=VALUE, RCPT:KEY or RCPT:KEY=VALUE".to_owned()),
    };
    Ok(Param { on, word: word.to_owned() })
}
