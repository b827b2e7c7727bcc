//! Whose waiting mail ETRN and ATRN ask for (RFC 1985 §5 and §5.3, RFC 2645 §5.2.1).

use std::fmt;

use super::path::is_domain;

/// The mail of a domain, of a domain and all below it, or of a queue. Names are in lower case.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Node {
    /// `example.org`: its recipients alone.
    Domain(Box<str>),
    /// `@example.org`: with those of its subdomains.
    Subtree(Box<str>),
    /// `#name`: what that is, is a local matter.
    Queue(Box<str>),
}

impl Node {
    /// Reads `[@ | #]name`. A domain has two labels at least, as RFC 1985 §5 and RFC 2645 §5.2.1
    /// want it; a queue's name is made of letters, digits, dots, hyphens and underscores.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (kind, name): (fn(Box<str>) -> Self, _) = match text {
            [b'@', name @ ..] => (Self::Subtree, name),
            [b'#', name @ ..] => (Self::Queue, name),
            name => (Self::Domain, name),
        };
        let good = match text.first() {
            Some(b'#') => !name.is_empty() && name.iter().all(is_queue_octet),
            _ => is_domain(name) && name.contains(&b'.'),
        };
        let name = str::from_utf8(name).ok().filter(|_| good)?;
        Some(kind(name.to_ascii_lowercase().into()))
    }

    /// Whether a recipient at `domain` belongs to the node. A queue tells nothing by its name.
    pub fn holds(&self, domain: &[u8]) -> bool {
        match self {
            Self::Domain(name) => domain.eq_ignore_ascii_case(name.as_bytes()),
            Self::Subtree(name) => is_at_or_below(domain, name.as_bytes()),
            Self::Queue(_) => false,
        }
    }

    /// Whether all that belongs to `other` belongs to this node too.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Subtree(_), Self::Domain(name) | Self::Subtree(name)) => {
                self.holds(name.as_bytes())
            }
            _ => self == other,
        }
    }
}

fn is_queue_octet(octet: &u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-' | b'_')
}

fn is_at_or_below(domain: &[u8], top: &[u8]) -> bool {
    let Some(at) = domain.len().checked_sub(top.len()) else { return false };
    domain[at..].eq_ignore_ascii_case(top) && (at == 0 || domain[at - 1] == b'.')
}

/// As ETRN and ATRN write it.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(name) => f.write_str(name),
            Self::Subtree(name) => write!(f, "@{name}"),
            Self::Queue(name) => write!(f, "#{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(text: &str) -> Node {
        Node::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text} is no node"))
    }

    #[test]
    fn nodes_are_read_and_written_alike_and_in_lower_case() {
        for text in ["example.org", "@a-b.example.org", "#uucp", "#night_run.1"] {
            assert_eq!(node(text).to_string(), text);
            assert_eq!(node(&text.to_uppercase()).to_string(), text);
        }
        for bad in [
            "",
            "@",
            "#",
            "localname",
            "@org",
            "a..b",
            "-a.b",
            "a.b-",
            "[192.0.2.1]",
            "##q",
            "#a b",
        ] {
            assert_eq!(Node::parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(Node::parse("bücher.example".as_bytes()), None);
    }

    #[test]
    fn a_subtree_ends_at_a_dot() {
        for (of, domain, expected) in [
            ("foo.example", "FOO.example", true),
            ("foo.example", "fred.foo.example", false),
            ("@foo.example", "foo.Example", true),
            ("@foo.example", "a.b.c.FOO.example", true),
            ("@foo.example", "barfoo.example", false),
            ("@foo.example", "oo.example", false),
            ("@foo.example", "", false),
            ("#foo.example", "foo.example", false),
        ] {
            assert_eq!(node(of).holds(domain.as_bytes()), expected, "{of} and {domain}");
        }
    }

    #[test]
    fn a_node_covers_what_lies_within_it() {
        for (wide, narrow, expected) in [
            ("foo.example", "foo.example", true),
            ("foo.example", "@foo.example", false),
            ("@foo.example", "foo.example", true),
            ("@foo.example", "@a.foo.example", true),
            ("@a.foo.example", "@foo.example", false),
            ("@foo.example", "#q", false),
            ("#q", "#q", true),
            ("#q", "foo.example", false),
        ] {
            assert_eq!(node(wide).covers(&node(narrow)), expected, "{wide} and {narrow}");
        }
    }
}
