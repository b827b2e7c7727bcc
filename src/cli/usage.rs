//! What a wrong command line is answered: one line that says what is wrong, what is allowed, and which name
//! is nearest to the one that was given.

use std::ffi::{OsStr, OsString};

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// A name is suggested if at most one in so many of its characters must change.
const CHANGES_OF: usize = 3;

/// Options that a command does not have and people ask for: those of other tasks and of other programs. What to
/// write in their place.
const INSTEAD: &[(&str, &[&str], &str)] = &[
    (
        "ringpost-sink",
        &["port", "p", "host", "bind", "address"],
        "--listen 127.0.0.1:2525 says where to listen",
    ),
    (
        "ringpost-sink",
        &["q", "quiet", "silent"],
        "it is quiet unless -v asks for more; --live off leaves out the line of a terminal",
    ),
    ("ringpost-blast", &["port", "p", "host"], "the target is written HOST:PORT"),
    ("ringpost-blast", &["quiet", "silent"], QUIET),
    ("ringpost-blast", &["r"], "-q is the rate, and --recipients the number of recipients"),
    ("ringpost-blast", &["s", "m"], "-c is the number of sessions, and -n that of messages"),
    (
        "ringpost-blast",
        &["t", "f", "to-address"],
        "--to and --from give the addresses, -z the time",
    ),
    ("ringpost-blast", &["l"], "--size is the size of a message"),
    (
        "ringpost-blast",
        &["d"],
        "-z is the time; sessions stay open unless --per-connection says otherwise",
    ),
    ("ringpost-blast", &["rates"], "sweep has --rates; a run has one --rate"),
    ("ringpost-blast", &["slo"], "find-max has --slo; a run has --fail-if"),
    ("sweep", &["rate", "q", "session-rate"], "--rates 1k,2k,4k gives the rates of the steps"),
    (
        "find-max",
        &["rate", "q", "rates", "session-rate"],
        "it tries rates from --start up to --most",
    ),
    ("find-max", &["fail-if"], "--slo says what must be true"),
    ("sweep", STEP_LENGTHS, STEP_LENGTH),
    ("find-max", STEP_LENGTHS, STEP_LENGTH),
];
const QUIET: &str = "--live off says nothing while it runs";
const STEP_LENGTHS: &[&str] = &["duration", "z", "messages", "n", "warmup"];
const STEP_LENGTH: &str = "--measure is the length of a step, after --settle";

/// The arguments, with a negative number joined to the option before it: `-n -1` becomes `-n=-1`. Without
/// that, clap takes `-1` for an option, and the option that is wrong is not named.
pub(super) fn with_negatives(
    command: &Command,
    args: impl IntoIterator<Item = OsString>,
) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::new();
    let mut literal = false;
    for arg in args {
        literal |= arg == "--";
        match joined.last_mut() {
            Some(last) if !literal && is_negative(&arg) && takes_value(command, last) => {
                last.push("=");
                last.push(arg);
            }
            _ => joined.push(arg),
        }
    }
    joined
}

/// Whether `arg` is a number below zero, perhaps with a unit. `-4` and `-6` are options too, but none of
/// them can stand where a value must.
fn is_negative(arg: &OsStr) -> bool {
    let digits = arg.as_encoded_bytes().strip_prefix(b"-");
    digits.is_some_and(|rest| rest.first().is_some_and(|octet| matches!(octet, b'0'..=b'9' | b'.')))
}

/// Whether an option of that name takes a value in each command that has one.
fn takes_value(command: &Command, name: &OsStr) -> bool {
    let Some(name) = name.to_str().and_then(|name| name.strip_prefix('-')) else { return false };
    let is_named = |arg: &clap::Arg| match name.strip_prefix('-') {
        Some(long) => arg.get_long() == Some(long),
        None => arg.get_short().is_some_and(|short| name.strip_prefix(short) == Some("")),
    };
    let mut found = commands(command)
        .into_iter()
        .flat_map(Command::get_arguments)
        .filter(|arg| is_named(arg))
        .map(|arg| arg.get_action().takes_values())
        .peekable();
    found.peek().is_some() && found.all(|takes| takes)
}

/// A command and all that are below it.
fn commands(command: &Command) -> Vec<&Command> {
    let below = command.get_subcommands().flat_map(commands);
    std::iter::once(command).chain(below).collect()
}

/// clap's message in one line: the error and the way out, without the usage block.
pub(super) fn one_line(error: &clap::Error, command: &Command, args: &[OsString]) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "a command is missing; see --help".into();
    }
    let way_out = match error.kind() {
        ErrorKind::ArgumentConflict => "; leave out the one or the other".to_owned(),
        ErrorKind::UnknownArgument => option_like(error, command, args),
        ErrorKind::InvalidSubcommand => command_below(error, command).unwrap_or_default(),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation if means_quiet(error, args) => {
            format!("; -q is the rate: {QUIET}")
        }
        _ => String::new(),
    };
    let is_ours = error.kind() == ErrorKind::UnknownArgument
        || error.kind() == ErrorKind::InvalidSubcommand && !way_out.is_empty();
    let text = error.to_string();
    let said: Vec<&str> = text
        .lines()
        .take_while(|line| !line.starts_with("Usage:"))
        .map(|line| line.trim().trim_start_matches("error: "))
        // Its tips come from all names that share some letters; ours is the nearest one, or the very name.
        .filter(|line| !(is_ours && line.starts_with("tip: ")))
        .map(|line| line.trim_start_matches("tip: "))
        .filter(|line| !line.is_empty() && !line.starts_with("For more information"))
        .collect();
    format!("{}{way_out}; see --help", said.join("; ").replace(":; ", ": "))
}

/// A command of that name, which is below another one.
fn command_below(error: &clap::Error, command: &Command) -> Option<String> {
    let Some(ContextValue::String(given)) = error.get(ContextKind::InvalidSubcommand) else {
        return None;
    };
    let above = command.get_subcommands().find(|above| above.find_subcommand(given).is_some())?;
    Some(format!("; it is '{} {} {given}'", command.get_name(), above.get_name()))
}

/// Whether `-q`, which is the rate here and makes many programs quiet, got no rate.
fn means_quiet(error: &clap::Error, args: &[OsString]) -> bool {
    let named = |arg: &ContextValue| arg.to_string().starts_with("--rate ");
    args.iter().any(|arg| arg == "-q") && error.get(ContextKind::InvalidArg).is_some_and(named)
}

/// The option that was meant, of the command that the arguments name.
fn option_like(error: &clap::Error, command: &Command, args: &[OsString]) -> String {
    let Some(ContextValue::String(given)) = error.get(ContextKind::InvalidArg) else {
        return String::new();
    };
    if command.get_name() == "ringpost-sink" && !given.starts_with('-') {
        return format!("; --listen {given} says where to listen");
    }
    let is_long = given.starts_with("--");
    let given = given.trim_start_matches('-').split('=').next().unwrap_or_default();
    let named = args.iter().skip(1).fold(command, |at, arg| {
        at.get_subcommands().find(|below| arg == below.get_name()).unwrap_or(at)
    });
    let instead =
        INSTEAD.iter().find(|(of, names, _)| *of == named.get_name() && names.contains(&given));
    if let Some((.., instead)) = instead {
        return format!("; {instead}");
    }
    if !is_long {
        return String::new();
    }
    let options = named.get_arguments().filter_map(clap::Arg::get_long);
    nearest(given, options).map_or_else(String::new, |name| format!("; did you mean --{name}?"))
}

/// The name that is most like `given`: one that begins with it, or that few changes make of it.
pub(super) fn nearest<'a>(given: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = |name: &&str| {
        let begun = given.chars().count() >= 2 && name.starts_with(given);
        begun || changes(given, name) * CHANGES_OF <= name.chars().count()
    };
    names.filter(near).min_by_key(|name| (!name.starts_with(given), changes(given, name)))
}

/// Characters to insert, delete or replace to turn one text into the other (the distance of Levenshtein).
fn changes(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (above, from) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], above + 1);
        for (column, to) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use clap::{Arg, ArgAction};

    use super::*;

    fn command() -> Command {
        let rate = Arg::new("rate").short('q').long("rate");
        let json = Arg::new("json").long("json").action(ArgAction::SetTrue);
        let four = Arg::new("four").short('4').action(ArgAction::SetTrue);
        let below = Command::new("sweep").arg(Arg::new("size").long("size"));
        Command::new("x").args([rate, json, four]).subcommand(below)
    }

    fn joined(args: &[&str]) -> Vec<OsString> {
        with_negatives(&command(), args.iter().map(OsString::from))
    }

    #[test]
    fn a_negative_number_is_the_value_of_the_option_before_it() {
        assert_eq!(joined(&["x", "--rate", "-5"]), ["x", "--rate=-5"]);
        assert_eq!(joined(&["x", "-q", "-5k"]), ["x", "-q=-5k"]);
        assert_eq!(joined(&["x", "sweep", "--size", "-.5"]), ["x", "sweep", "--size=-.5"]);
        for as_it_is in [
            &["x", "--json", "-4"][..],
            &["x", "-4"],
            &["x", "--rate", "--json"],
            &["x", "--", "-q", "-4"],
        ] {
            assert_eq!(joined(as_it_is), as_it_is);
        }
    }

    #[test]
    fn the_nearest_name_is_that_which_begins_so_or_needs_the_fewest_changes() {
        let names = ["connections", "connect-tries", "reconnect", "rate", "session-rate"];
        for (given, meant) in [
            ("conn", Some("connections")),
            ("conections", Some("connections")),
            ("connect-try", Some("connect-tries")),
            ("reconect", Some("reconnect")),
            ("rte", Some("rate")),
            ("frobnicate", None),
            ("x", None),
        ] {
            assert_eq!(nearest(given, names.into_iter()), meant, "{given}");
        }
        assert_eq!(nearest("findmax", ["sweep", "find-max"].into_iter()), Some("find-max"));
    }

    #[test]
    fn distances_count_inserted_deleted_and_replaced_characters() {
        for (a, b, count) in
            [("", "abc", 3), ("abc", "abc", 0), ("kitten", "sitting", 3), ("é", "e", 1)]
        {
            assert_eq!((changes(a, b), changes(b, a)), (count, count), "{a} {b}");
        }
    }
}
