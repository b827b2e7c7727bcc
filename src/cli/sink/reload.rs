//! What the sink reads again while it runs: the accounts of `--auth` and the directory.

use super::auth;
use super::options::SinkOptions;
use crate::notice::notice;
use crate::sink::PolicyFeed;

/// Reads the files and has new sessions use them; what was done, in words.
///
/// # Errors
/// What is wrong with a file, in words. Nothing was changed then.
pub(super) fn read_again(options: &SinkOptions, feed: &PolicyFeed) -> Result<String, String> {
    let commands = options.commands.check(&options.listen).map_err(|error| error.to_string())?;
    let (auth, warning) =
        auth::policy(&options.auth, &options.auth_mechanisms, options.auth_required)?;
    let files = [
        auth.is_listed().then(|| format!("the accounts in {}", options.auth)),
        options.commands.directory().map(|path| format!("the directory {}", path.display())),
    ];
    let files: Vec<_> = files.into_iter().flatten().collect();
    if files.is_empty() {
        return Ok("there is no --auth FILE and no --directory to read again".to_owned());
    }
    if let Some(warning) = warning {
        notice!("ringpost-sink: {warning}");
    }
    feed.change(|policy| {
        policy.auth = auth.clone();
        policy.commands.directory.clone_from(&commands.directory);
    });
    Ok(format!("read {} again, for sessions that begin now", files.join(" and ")))
}
