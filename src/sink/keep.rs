//! How much of a message is kept, by the domains of its recipients.

use std::str::FromStr;

/// How much is kept of a message. A greater value keeps more.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Keep {
    /// It is counted and forgotten.
    Nothing,
    /// The header block and the empty line after it.
    Headers,
    #[default]
    All,
}

impl FromStr for Keep {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        match word {
            "all" => Ok(Self::All),
            "headers" => Ok(Self::Headers),
            "none" => Ok(Self::Nothing),
            _ => Err(()),
        }
    }
}

/// One `DOMAIN=WORD`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeepRule {
    /// `*` stands for every domain without a rule of its own.
    domain: String,
    keep: Keep,
}

/// A rule that cannot be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("'{0}' is no rule; write DOMAIN=all, DOMAIN=headers or DOMAIN=none, with * for all others")]
pub struct BadKeepRule(String);

impl FromStr for KeepRule {
    type Err = BadKeepRule;

    fn from_str(text: &str) -> Result<Self, BadKeepRule> {
        let rule = text.split_once('=').and_then(|(domain, word)| {
            let sound = !domain.is_empty() && !domain.contains(['@', ' ']);
            let keep = word.parse().ok()?;
            sound.then(|| Self { domain: domain.to_owned(), keep })
        });
        rule.ok_or_else(|| BadKeepRule(text.to_owned()))
    }
}

/// All rules. Without rules, everything is kept. Of two rules for one domain the later counts.
#[derive(Clone, Debug, Default)]
pub struct KeepRules {
    rules: Vec<KeepRule>,
    others: Keep,
}

impl FromIterator<KeepRule> for KeepRules {
    fn from_iter<I: IntoIterator<Item = KeepRule>>(all: I) -> Self {
        let mut found = Self::default();
        for rule in all {
            if rule.domain == "*" {
                found.others = rule.keep;
            } else {
                found.rules.retain(|earlier| !earlier.domain.eq_ignore_ascii_case(&rule.domain));
                found.rules.push(rule);
            }
        }
        found
    }
}

impl KeepRules {
    /// The rule that keeps most among those of the recipients. Paths are without angle brackets.
    pub(super) fn keep<'p>(&self, recipients: impl Iterator<Item = &'p [u8]>) -> Keep {
        if self.rules.is_empty() {
            return self.others;
        }
        recipients.map(|path| self.one(path)).max().unwrap_or(self.others)
    }

    fn one(&self, path: &[u8]) -> Keep {
        // A quoted local part may hold an @; a domain never does.
        let Some(at) = memchr::memrchr(b'@', path) else { return self.others };
        let domain = &path[at + 1..];
        self.rules
            .iter()
            .find(|rule| rule.domain.as_bytes().eq_ignore_ascii_case(domain))
            .map_or(self.others, |rule| rule.keep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(texts: &[&str]) -> KeepRules {
        texts.iter().map(|text| text.parse::<KeepRule>().unwrap()).collect()
    }

    #[test]
    fn the_most_generous_recipient_wins() {
        let rules = rules(&["load.test=none", "Read.test=headers", "full.test=all"]);
        let keep = |paths: &[&str]| rules.keep(paths.iter().map(|path| path.as_bytes()));
        assert_eq!(keep(&["a@load.test"]), Keep::Nothing);
        assert_eq!(keep(&["a@LOAD.test", "b@read.TEST"]), Keep::Headers);
        assert_eq!(keep(&["a@load.test", "b@full.test", "c@read.test"]), Keep::All);
        assert_eq!(keep(&["a@load.test", "b@elsewhere.test"]), Keep::All);
        assert_eq!(keep(&["\"x@load.test\"@read.test"]), Keep::Headers);
        assert_eq!(keep(&["postmaster"]), Keep::All);
        assert_eq!(keep(&["a@sub.load.test"]), Keep::All);
    }

    #[test]
    fn a_star_is_for_all_others_and_a_later_rule_replaces_an_earlier_one() {
        let rules = rules(&["*=none", "a.test=headers", "A.test=all"]);
        let keep = |path: &str| rules.keep([path.as_bytes()].into_iter());
        assert_eq!((keep("x@a.test"), keep("x@b.test"), keep("root")), {
            (Keep::All, Keep::Nothing, Keep::Nothing)
        });
        for bad in ["a.test", "=all", "a.test=some", "u@a.test=all", "a.test="] {
            assert!(bad.parse::<KeepRule>().is_err(), "{bad}");
        }
    }
}
