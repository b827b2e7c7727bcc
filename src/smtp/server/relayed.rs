//! The client that a proxy speaks for, as XCLIENT tells (Postfix, XCLIENT_README).

use core::net::IpAddr;

use crate::smtp::path::is_host;
use crate::smtp::xtext;

/// Longest attribute that is a text, decoded.
const TEXT_BYTES_MAX: usize = 255;

/// The client that the peer speaks for, as far as it said. What is `None` was not said, or said to be
/// unknown.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Relayed {
    pub address: Option<IpAddr>,
    pub port: Option<u16>,
    /// `ESMTP` (true) or `SMTP`.
    pub extended: Option<bool>,
    pub hello: Option<Vec<u8>>,
    /// Name that the client authenticated with.
    pub login: Option<Vec<u8>>,
}

impl Relayed {
    /// Takes `1*(SP name "=" xtext)`. `None`, after which the value must not be used: an attribute
    /// is unknown, stands alone, or has a bad value.
    pub(super) fn read(&mut self, argument: &[u8]) -> Option<()> {
        let mut words = argument.split(|&b| b == b' ').filter(|word| !word.is_empty()).peekable();
        words.peek()?;
        for word in words {
            let at = memchr::memchr(b'=', word)?;
            let value = xtext::decode(&word[at + 1..])?;
            let unknown = [&b"[UNAVAILABLE]"[..], b"[TEMPUNAVAIL]"]
                .iter()
                .any(|placeholder| value.eq_ignore_ascii_case(placeholder));
            let value = (!unknown).then_some(value);
            self.take(&word[..at].to_ascii_uppercase(), value)?;
        }
        Some(())
    }

    fn take(&mut self, name: &[u8], value: Option<Vec<u8>>) -> Option<()> {
        match name {
            b"ADDR" => self.address = each(value, address)?,
            b"PORT" => self.port = each(value, port)?,
            b"HELO" => self.hello = each(value, text)?,
            b"LOGIN" => self.login = each(value, text)?,
            b"PROTO" => {
                self.extended = match value {
                    None => None,
                    Some(value) if value.eq_ignore_ascii_case(b"SMTP") => Some(false),
                    Some(value) if value.eq_ignore_ascii_case(b"ESMTP") => Some(true),
                    Some(_) => return None,
                }
            }
            // Read and checked; no record has a place for them.
            b"NAME" => drop(each(value, |name| is_host(name).then_some(()))?),
            b"DESTADDR" => drop(each(value, address)?),
            b"DESTPORT" => drop(each(value, port)?),
            _ => return None,
        }
        Some(())
    }
}

/// Reads a value unless it is unknown; the outer `None` says that it is bad.
fn each<T>(value: Option<Vec<u8>>, read: impl Fn(&[u8]) -> Option<T>) -> Option<Option<T>> {
    match value {
        None => Some(None),
        Some(value) => read(&value).map(Some),
    }
}

/// An IPv4 address, or an IPv6 address after `IPV6:`.
fn address(value: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(value).ok()?;
    match text.split_at_checked(5) {
        Some((tag, rest)) if tag.eq_ignore_ascii_case("IPV6:") => rest.parse().ok().map(IpAddr::V6),
        _ => text.parse().ok().map(IpAddr::V4),
    }
}

fn port(value: &[u8]) -> Option<u16> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()
}

/// A name: UTF-8 without controls.
fn text(value: &[u8]) -> Option<Vec<u8>> {
    let name = str::from_utf8(value).ok()?;
    let good = (1..=TEXT_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control);
    good.then(|| value.to_vec())
}
