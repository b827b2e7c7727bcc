//! Options of the sink that say which commands and extensions it knows.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::{Timestamp, ToSpan};

use super::listen::ListenUrl;
use crate::cli::exit::{self, Exit, ExitError};
use crate::cli::value;
use crate::host;
use crate::limits::{ADDRESSES_BYTES_MAX, HOLD_S_MAX};
use crate::smtp::directory::Directory;
use crate::smtp::extension::Extensions;
use crate::smtp::params::Moment;
use crate::smtp::server::{Commands, HoldLimits, Protocol, RecipientRule};

#[derive(Debug, Args)]
pub(super) struct CommandOptions {
    /// Switch an extension off, by its EHLO keyword. Its commands and parameters are then refused. May
    /// be given more than once
    #[arg(long, value_name = "NAME", help_heading = "Commands", value_parser = extension)]
    no_ext: Vec<Extensions>,

    /// off: a server of RFC 821, without extensions; EHLO gets 502
    #[arg(long, value_name = "ON|OFF", default_value = "on", help_heading = "Commands")]
    esmtp: Switch,

    /// Answer VRFY and EXPN from this file. Each line is one of: mailbox ADDR [NAME], busy ADDR [NAME],
    /// alias ADDR ADDR, forward ADDR ADDR, moved ADDR ADDR, ambiguous ADDR ADDR..., list ADDR ADDR...
    #[arg(long, value_name = "FILE", help_heading = "Commands")]
    directory: Option<PathBuf>,

    /// The recipients to accept. known: only those of --directory and Postmaster; others get 550, busy
    /// ones 450, moved ones 551, ambiguous ones 553
    #[arg(long, value_name = "WHO", default_value = "any", help_heading = "Commands")]
    recipients: Who,

    /// Accept SEND, SOML and SAML (RFC 821) in place of MAIL
    #[arg(long, help_heading = "Commands")]
    legacy_commands: bool,

    /// Longest time that FUTURERELEASE announces. The sink itself never holds or releases a message
    /// [default: for ever]
    #[arg(long, value_name = "DURATION", help_heading = "Commands", value_parser = value::span)]
    hold_max: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Switch {
    On,
    Off,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Who {
    Any,
    Known,
}

impl CommandOptions {
    /// Checks the options against each other and reads the directory.
    pub(super) fn check(&self, listen: &[ListenUrl]) -> Result<Commands, ExitError> {
        let usage = |why: &str| Err(ExitError::new(Exit::Usage, why));
        if self.recipients == Who::Known && self.directory.is_none() {
            return usage("--recipients known needs --directory, which names the known recipients");
        }
        if self.esmtp == Switch::Off && listen.iter().any(|url| url.protocol == Protocol::Lmtp) {
            return usage("--esmtp off leaves no LMTP, which stands on extensions (RFC 2033 §5)");
        }
        Ok(Commands {
            esmtp: self.esmtp == Switch::On,
            legacy: self.legacy_commands,
            directory: self.read_directory()?.map(Arc::new),
            recipients: match self.recipients {
                Who::Any => RecipientRule::Any,
                Who::Known => RecipientRule::Known,
            },
            etrn: false,
            atrn: false,
            hold: self.hold_max.map_or_else(|| Ok(HoldLimits::default()), hold_limits)?,
        })
    }

    pub(super) fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    pub(super) fn extensions(&self) -> Extensions {
        self.no_ext.iter().fold(Extensions::ALL, |set, &gone| set.difference(gone))
    }

    fn read_directory(&self) -> Result<Option<Directory>, ExitError> {
        let Some(path) = &self.directory else { return Ok(None) };
        let shown = path.display();
        let text = read_utf8(path).map_err(|error| {
            let why = format!("cannot read the directory {shown}: {error}");
            ExitError::new(exit::read(&error), why)
        })?;
        let directory = Directory::parse(&text).map_err(|error| {
            ExitError::new(Exit::Data, format_args!("the directory {shown} is wrong at {error}"))
        })?;
        Ok(Some(directory))
    }
}

fn read_utf8(path: &Path) -> io::Result<String> {
    let text = String::from_utf8(host::read_text(path, ADDRESSES_BYTES_MAX)?);
    text.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}

/// What may be asked of a listener that starts now.
fn hold_limits(longest: Duration) -> Result<HoldLimits, ExitError> {
    let seconds = u32::try_from(longest.as_secs()).unwrap_or(u32::MAX);
    if !(1..=HOLD_S_MAX).contains(&seconds) {
        let why = format!("--hold-max must be 1 s to {HOLD_S_MAX} s");
        return Err(ExitError::new(Exit::Usage, why));
    }
    let now = Timestamp::now();
    let moment =
        |at: Timestamp| Moment::parse(at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().as_bytes());
    let latest = now.checked_add(i64::from(seconds).seconds()).ok().and_then(moment);
    Ok(HoldLimits {
        seconds_max: seconds,
        earliest: moment(now).unwrap_or(Moment::FIRST),
        latest: latest.unwrap_or(Moment::LAST),
    })
}

fn extension(keyword: &str) -> Result<Extensions, String> {
    Extensions::from_keyword(keyword).ok_or_else(|| {
        let known: Vec<_> = Extensions::all_keywords().collect();
        format!("no such extension; write one of {}", known.join(", "))
    })
}
