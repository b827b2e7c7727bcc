//! XCLIENT (Postfix, XCLIENT_README).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ringpost::smtp::server::Protocol;

use super::path::host;
use super::{BAD_ARGUMENT, OUT_OF_ORDER, Quirk, Reference};

/// Whom the peer speaks for, as far as it said.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Client {
    pub address: Option<IpAddr>,
    pub port: Option<u16>,
    pub extended: Option<bool>,
    pub hello: Option<Vec<u8>>,
    pub login: Option<Vec<u8>>,
}

impl Reference<'_> {
    pub(super) fn xclient(&mut self, argument: &[u8]) {
        if !self.circumstances.trusted && !self.is(Quirk::XclientFromAnybody) {
            return self.error("550/5.7.0");
        }
        if self.mail.is_some() || self.failed.is_some() {
            return self.error(OUT_OF_ORDER);
        }
        let mut client = self.client.clone();
        if argument.trim_ascii().is_empty() || !client.take_all(argument) {
            return self.error(BAD_ARGUMENT);
        }
        self.idle();
        if !self.is(Quirk::XclientKeepsLogin) {
            self.identity = None;
        }
        self.hello = Vec::new();
        self.hello_odd.clear();
        self.greeted = self.greeted && self.is(Quirk::XclientKeepsGreeting);
        self.extended = false;
        if let Some(hello) = client.hello.clone().filter(|_| self.policy.protocol == Protocol::Smtp)
        {
            self.hello = hello;
            self.greeted = true;
            self.extended = client.extended == Some(true);
        }
        self.client = client;
        self.say("220");
    }
}

impl Client {
    fn take_all(&mut self, argument: &[u8]) -> bool {
        argument.split(|&b| b == b' ').filter(|word| !word.is_empty()).all(|word| {
            let Some(at) = word.iter().position(|&b| b == b'=') else { return false };
            let Some(value) = decoded(&word[at + 1..]) else { return false };
            let upper = value.to_ascii_uppercase();
            let unknown = matches!(&upper[..], b"[UNAVAILABLE]" | b"[TEMPUNAVAIL]");
            self.take(&word[..at].to_ascii_uppercase(), Some(value).filter(|_| !unknown)).is_some()
        })
    }

    /// `None` for what is unknown or bad.
    fn take(&mut self, name: &[u8], value: Option<Vec<u8>>) -> Option<()> {
        let upper = value.as_ref().map(|value| value.to_ascii_uppercase());
        match (name, value) {
            (b"ADDR", Some(value)) => self.address = Some(address(&value)?),
            (b"ADDR", None) => self.address = None,
            (b"PORT", Some(value)) => self.port = Some(port(&value)?),
            (b"PORT", None) => self.port = None,
            (b"HELO", value) => self.hello = checked(value)?,
            (b"LOGIN", value) => self.login = checked(value)?,
            (b"PROTO", _) => {
                self.extended = match upper.as_deref() {
                    None => None,
                    Some(b"SMTP") => Some(false),
                    Some(b"ESMTP") => Some(true),
                    _ => return None,
                };
            }
            (b"NAME", Some(value)) => {
                let good = value.is_ascii() && host(&value) == Ok(value.len());
                return good.then_some(());
            }
            (b"DESTADDR", Some(value)) => drop(address(&value)?),
            (b"DESTPORT", Some(value)) => drop(port(&value)?),
            (b"NAME" | b"DESTADDR" | b"DESTPORT", None) => {}
            _ => return None,
        }
        Some(())
    }
}

/// xtext, whose digits may be of either case here.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut octets = Vec::new();
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'+' => {
                let digits = text.get(at + 1..at + 3)?;
                if !digits.iter().all(u8::is_ascii_hexdigit) {
                    return None;
                }
                octets.push(u8::from_str_radix(str::from_utf8(digits).unwrap(), 16).unwrap());
                at += 3;
            }
            b'=' => return None,
            octet @ 33..=126 => {
                octets.push(octet);
                at += 1;
            }
            _ => return None,
        }
    }
    Some(octets)
}

fn address(value: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(value).ok()?;
    if text.len() >= 5 && text.as_bytes()[..5].eq_ignore_ascii_case(b"IPV6:") {
        return Some(IpAddr::V6(text[5..].parse::<Ipv6Addr>().ok()?));
    }
    Some(IpAddr::V4(text.parse::<Ipv4Addr>().ok()?))
}

fn port(value: &[u8]) -> Option<u16> {
    let text = str::from_utf8(value).ok()?;
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// A text: UTF-8 without controls, up to 255 octets. The outer `None` for a bad one.
fn checked(value: Option<Vec<u8>>) -> Option<Option<Vec<u8>>> {
    let Some(value) = value else { return Some(None) };
    let text = str::from_utf8(&value).ok()?;
    let good = !text.is_empty() && text.len() <= 255 && !text.contains(|c: char| c.is_control());
    good.then_some(Some(value))
}
