//! What the sink reads again while it runs: the accounts of `--auth`, the directory, the certificates, and the CA
//! of client certificates.

use std::sync::Arc;

use super::auth;
use super::options::SinkOptions;
use super::tls::SinkTls;
use crate::notice::notice;
use crate::sink::PortFeed;

/// What a sink that runs can be given anew.
pub(super) struct Reloadable {
    pub(super) ports: PortFeed,
    pub(super) tls: Option<SinkTls>,
}

/// Reads the files and has new sessions use them; what was done, in words.
///
/// # Errors
/// What is wrong with a file, in words. Nothing was changed then.
pub(super) fn read_again(options: &SinkOptions, running: &Reloadable) -> Result<String, String> {
    let commands = options.commands.check(&options.listen).map_err(|error| error.to_string())?;
    let (auth, warning) =
        auth::policy(&options.auth, &options.auth_mechanisms, options.auth_required)
            .map_err(|error| error.to_string())?;
    let files = [
        auth.is_listed().then(|| format!("the accounts in {}", options.auth)),
        options.commands.directory().map(|path| format!("the directory {}", path.display())),
    ];
    let mut files: Vec<_> = files.into_iter().flatten().collect();
    files.extend(options.tls.files().map(str::to_owned));
    if files.is_empty() {
        let none = "there is no --auth FILE, no --directory, no --tls-cert and no --tls-client-ca to read again";
        return Ok(none.to_owned());
    }
    if let Some(warning) = warning {
        notice!("ringpost-sink: {warning}");
    }
    let config = match &running.tls {
        Some(tls) if options.tls.files().next().is_some() => {
            Some(tls.read_again(&options.tls).map_err(|error| error.to_string())?)
        }
        _ => None,
    };
    running.ports.change(|port| {
        port.policy.auth = auth.clone();
        port.policy.commands.directory.clone_from(&commands.directory);
        if let (Some(tls), Some(config)) = (&mut port.tls, &config) {
            tls.config = Arc::clone(config);
        }
    });
    Ok(format!("read {} again, for sessions that begin now", files.join(" and ")))
}
