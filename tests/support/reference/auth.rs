//! AUTH (RFC 4954) and its mechanisms, as the server sees them.

use ringpost::smtp::auth::{Credentials, Mechanism};
use ringpost::smtp::extension::Extensions;

use super::sasl::{base64, cram_challenge, cram_digest, nonce, scram_first, scram_proof, unbase64};
use super::world::ACCOUNTS;
use super::{BAD_ARGUMENT, NOT_DONE, OUT_OF_ORDER, Quirk, Reference, Said};

const REFUSED: Said = "535/5.7.8";
const MALFORMED: Said = "501/5.5.2";

/// An exchange, and what it waits for.
#[derive(Clone)]
pub(super) struct Exchange {
    mechanism: Mechanism,
    attempt: u32,
    waits_for: Awaited,
}

#[derive(Clone)]
enum Awaited {
    /// What the client says first.
    Start,
    /// LOGIN: the password of this user.
    Password(String),
    /// XOAUTH2 and OAUTHBEARER: the answer to a refusal, which is this.
    Sorry(&'static str),
    /// SCRAM: `client-final-message`. GS2 header, the user, both nonces, and what was said.
    Proof { header: String, user: String, nonces: String, said: String },
    /// SCRAM: the empty answer to the server's signature.
    Nothing { user: String },
}

enum Outcome {
    Ask(String, Awaited),
    Accept(String),
    Fail(Said),
}

impl Reference<'_> {
    /// The mechanisms on offer, in the order of EHLO.
    pub(super) fn mechanisms(&self) -> Vec<Mechanism> {
        let auth = &self.policy.auth;
        let order = [
            Mechanism::ScramSha256,
            Mechanism::CramMd5,
            Mechanism::Plain,
            Mechanism::Login,
            Mechanism::OauthBearer,
            Mechanism::Xoauth2,
        ];
        let able = |mechanism: &Mechanism| match auth.credentials {
            Credentials::None => false,
            Credentials::Any => *mechanism != Mechanism::ScramSha256,
            Credentials::Listed(_) => true,
        };
        let on = |mechanism: &Mechanism| auth.mechanisms.contains(*mechanism) && able(mechanism);
        order.into_iter().filter(on).collect()
    }

    /// Whether a login works before TLS (RFC 4954 §4).
    pub(super) fn logs_in_plainly(&self) -> bool {
        !self.policy.tls.auth_under_tls || self.is(Quirk::LoginInPlainText)
    }

    pub(super) fn auth(&mut self, argument: &[u8]) {
        match self.begin(argument) {
            Err(said) => self.error(said),
            Ok((exchange, None)) => match exchange.mechanism {
                Mechanism::Login => self.ask("Username:", exchange),
                Mechanism::CramMd5 => {
                    let challenge = cram_challenge(exchange.attempt, &self.policy.hostname);
                    self.ask(&challenge, exchange);
                }
                _ => self.ask("", exchange),
            },
            Ok((exchange, Some(response))) => self.respond(exchange, &response),
        }
    }

    fn begin(&mut self, argument: &[u8]) -> Result<(Exchange, Option<Vec<u8>>), Said> {
        if !self.offers_under(true, Extensions::AUTH) {
            return Err(NOT_DONE);
        }
        if !self.secured && !self.logs_in_plainly() {
            return Err("538/5.7.11");
        }
        let open = self.mail.is_some() || self.failed.is_some();
        if !self.extended || self.identity.is_some() || (open && !self.is(Quirk::AuthInTransaction))
        {
            return Err(OUT_OF_ORDER);
        }
        let mut words = argument.splitn(2, |&b| b == b' ');
        let name = words.next().unwrap_or_default();
        if name.is_empty() {
            return Err(BAD_ARGUMENT);
        }
        let named = |mechanism: &Mechanism| mechanism.name().as_bytes().eq_ignore_ascii_case(name);
        let mechanism = self.mechanisms().into_iter().find(named).ok_or("504/5.5.4")?;
        let initial = words.next();
        if initial.is_some() && mechanism == Mechanism::CramMd5 {
            return Err("501/5.7.0");
        }
        let initial = match initial {
            None => None,
            Some(b"=") => Some(Vec::new()),
            Some(text) => Some(unbase64(text).ok_or(MALFORMED)?),
        };
        if !self.is(Quirk::NoncesRepeat) {
            self.attempts += 1;
        }
        let waits_for = Awaited::Start;
        Ok((Exchange { mechanism, attempt: self.attempts, waits_for }, initial))
    }

    /// A line behind a challenge.
    pub(super) fn answered(&mut self, exchange: Exchange, line: &[u8]) {
        if line == b"*" {
            let cancelled = if self.is(Quirk::CancelIsRefusal) { REFUSED } else { "501/5.7.0" };
            return self.error(cancelled);
        }
        match unbase64(line) {
            None => self.error(MALFORMED),
            Some(response) => self.respond(exchange, &response),
        }
    }

    fn ask(&mut self, challenge: &str, exchange: Exchange) {
        self.say(&format!("334 {}", base64(challenge.as_bytes())));
        self.exchange = Some(exchange);
    }

    fn respond(&mut self, mut exchange: Exchange, response: &[u8]) {
        match self.judge(&exchange, response) {
            Outcome::Ask(challenge, waits_for) => {
                exchange.waits_for = waits_for;
                self.ask(&challenge, exchange);
            }
            Outcome::Accept(user) => {
                self.identity = Some(user.into_bytes());
                self.say("235/2.7.0");
            }
            Outcome::Fail(said) => self.error(said),
        }
    }

    fn judge(&self, exchange: &Exchange, response: &[u8]) -> Outcome {
        // LOGIN's password is compared as it is.
        if let Awaited::Password(user) = &exchange.waits_for {
            return self.let_in(user, response);
        }
        let Ok(text) = str::from_utf8(response) else { return Outcome::Fail(MALFORMED) };
        match (&exchange.waits_for, exchange.mechanism) {
            (Awaited::Start, Mechanism::Plain) => self.plain(text),
            (Awaited::Start, Mechanism::Login) => {
                Outcome::Ask("Password:".to_owned(), Awaited::Password(text.to_owned()))
            }
            (Awaited::Start, Mechanism::CramMd5) => self.cram(text, exchange.attempt),
            (Awaited::Start, Mechanism::Xoauth2) => self.bearer(text),
            (Awaited::Start, Mechanism::OauthBearer) => self.oauthbearer(text),
            (Awaited::Start, Mechanism::ScramSha256) => {
                first(text, exchange.attempt).unwrap_or(Outcome::Fail(MALFORMED))
            }
            (Awaited::Proof { header, user, nonces, said }, _) => {
                self.proof(text, header, user, nonces, said).unwrap_or(Outcome::Fail(MALFORMED))
            }
            (Awaited::Nothing { user }, _) if text.is_empty() => Outcome::Accept(user.clone()),
            (Awaited::Sorry(answer), _) if text == *answer || self.is(Quirk::AnyDummy) => {
                Outcome::Fail(REFUSED)
            }
            _ => Outcome::Fail(MALFORMED),
        }
    }

    fn anybody(&self) -> bool {
        matches!(self.policy.auth.credentials, Credentials::Any)
    }

    fn admits(&self, user: &str, secret: &[u8]) -> bool {
        let listed = || password(user).is_some_and(|password| password.as_bytes() == secret);
        !user.is_empty() && !secret.is_empty() && (self.anybody() || listed())
    }

    fn let_in(&self, user: &str, secret: &[u8]) -> Outcome {
        if self.admits(user, secret) {
            Outcome::Accept(user.to_owned())
        } else {
            Outcome::Fail(REFUSED)
        }
    }

    /// RFC 4616 §2. Who is on a list may act as nobody else.
    fn plain(&self, text: &str) -> Outcome {
        let parts: Vec<_> = text.split('\0').collect();
        let [acting_as, user, secret] = parts[..] else { return Outcome::Fail(MALFORMED) };
        let foreign = !acting_as.is_empty() && acting_as != user;
        if foreign && !self.anybody() && !self.is(Quirk::ActsAsAnybody) {
            return Outcome::Fail(REFUSED);
        }
        match self.let_in(user, secret.as_bytes()) {
            Outcome::Accept(_) if foreign => Outcome::Accept(acting_as.to_owned()),
            outcome => outcome,
        }
    }

    /// RFC 2195 §2.
    fn cram(&self, text: &str, attempt: u32) -> Outcome {
        let Some((user, digest)) = text.rsplit_once(' ') else { return Outcome::Fail(MALFORMED) };
        if digest.len() != 32 || !digest.bytes().all(|b| b"0123456789abcdef".contains(&b)) {
            return Outcome::Fail(MALFORMED);
        }
        let challenge = cram_challenge(attempt, &self.policy.hostname);
        let right = |password: &str| cram_digest(password, &challenge) == digest;
        let good =
            if self.anybody() { !user.is_empty() } else { password(user).is_some_and(right) };
        if good { Outcome::Accept(user.to_owned()) } else { Outcome::Fail(REFUSED) }
    }

    /// `user=` name ^A `auth=Bearer ` token ^A ^A.
    fn bearer(&self, text: &str) -> Outcome {
        let read = || {
            let (user, rest) = text.strip_prefix("user=")?.split_once('\x01')?;
            let rest = rest.strip_prefix("auth=")?.strip_suffix("\x01\x01")?;
            let (scheme, token) = rest.split_once(' ')?;
            let good = scheme.eq_ignore_ascii_case("bearer") && !token.contains('\x01');
            good.then_some((user, token))
        };
        let Some((user, token)) = read() else { return Outcome::Fail(MALFORMED) };
        if self.admits(user, token.as_bytes()) {
            return Outcome::Accept(user.to_owned());
        }
        let refusal = r#"{"status":"401","schemes":"bearer","scope":"https://mail.google.com/"}"#;
        Outcome::Ask(refusal.to_owned(), Awaited::Sorry(""))
    }

    /// RFC 7628 §3.1: `n,` or `y,`, `a=` name or nothing, `,` ^A, pairs that end in ^A, and ^A.
    fn oauthbearer(&self, text: &str) -> Outcome {
        let read = || {
            let mut parts = text.split('\x01').collect::<Vec<_>>();
            let header = parts.remove(0);
            // Behind the last ^A there is nothing, and nothing between the last two.
            if !parts.pop()?.is_empty() || !parts.pop()?.is_empty() {
                return None;
            }
            let flags = header.strip_suffix(',')?;
            let name = flags.strip_prefix("n,").or(flags.strip_prefix("y,"))?;
            let name =
                if name.is_empty() { None } else { Some(saslname(name.strip_prefix("a=")?)?) };
            let mut tokens = Vec::new();
            for pair in parts {
                let (key, value) = pair.split_once('=')?;
                let letter = |b: u8| b.is_ascii_alphabetic();
                if key.is_empty() || !key.bytes().all(letter) {
                    return None;
                }
                if key == "auth" {
                    tokens.push(value);
                }
            }
            let [auth] = tokens[..] else { return None };
            let (scheme, token) = auth.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some((name, token))
        };
        let Some((name, token)) = read() else { return Outcome::Fail(MALFORMED) };
        let user = match name {
            Some(name) => self.admits(&name, token.as_bytes()).then_some(name),
            None if token.is_empty() => None,
            None if self.anybody() => Some(String::new()),
            None => {
                let mut accounts = ACCOUNTS.lines().filter_map(|line| line.split_once(':'));
                accounts.find(|(_, password)| *password == token).map(|(name, _)| name.to_owned())
            }
        };
        match user {
            Some(user) => Outcome::Accept(user),
            None => {
                let refusal = r#"{"status":"invalid_token"}"#;
                Outcome::Ask(refusal.to_owned(), Awaited::Sorry("\x01"))
            }
        }
    }

    /// RFC 5802 §7, `client-final-message`.
    fn proof(
        &self,
        text: &str,
        header: &str,
        user: &str,
        nonces: &str,
        said: &str,
    ) -> Option<Outcome> {
        let (without, proof) = text.rsplit_once(",p=")?;
        let mut attributes = without.split(',');
        let binding = unbase64(attributes.next()?.strip_prefix("c=")?.as_bytes())?;
        if binding != header.as_bytes() || attributes.next()?.strip_prefix("r=")? != nonces {
            return None;
        }
        let proof = unbase64(proof.as_bytes())?;
        let Some(password) = password(user) else { return Some(Outcome::Fail(REFUSED)) };
        let (right, signature) = scram_proof(user, password, &format!("{said},{without}"));
        if proof != right && !self.is(Quirk::AnyProof) {
            return Some(Outcome::Fail(REFUSED));
        }
        let waits_for = Awaited::Nothing { user: user.to_owned() };
        Some(Outcome::Ask(format!("v={}", base64(&signature)), waits_for))
    }
}

/// RFC 5802 §7, `client-first-message`; without channel binding.
fn first(text: &str, attempt: u32) -> Option<Outcome> {
    let (flag, rest) = text.split_once(',')?;
    let (acting_as, bare) = rest.split_once(',')?;
    if flag != "n" && flag != "y" {
        return None;
    }
    let mut attributes = bare.split(',');
    let user = saslname(attributes.next()?.strip_prefix("n=")?)?;
    let client_nonce = attributes.next()?.strip_prefix("r=")?;
    let fits = (1..=ringpost::limits::SCRAM_NONCE_BYTES_MAX).contains(&client_nonce.len());
    if !fits || !client_nonce.bytes().all(|b| b.is_ascii_graphic()) {
        return None;
    }
    if !acting_as.is_empty() && saslname(acting_as.strip_prefix("a=")?)? != user {
        return None;
    }
    let challenge = scram_first(&user, client_nonce, attempt);
    let waits_for = Awaited::Proof {
        header: format!("{flag},{acting_as},"),
        user,
        nonces: format!("{client_nonce}{}", nonce(attempt)),
        said: format!("{bare},{challenge}"),
    };
    Some(Outcome::Ask(challenge, waits_for))
}

/// `=2C` is a comma and `=3D` an equals sign; no other equals sign may stand there.
fn saslname(text: &str) -> Option<String> {
    let mut name = String::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let (octets, letter) = match letter {
            '=' if rest.starts_with("=2C") => (3, ','),
            '=' if rest.starts_with("=3D") => (3, '='),
            '=' | ',' => return None,
            _ => (letter.len_utf8(), letter),
        };
        name.push(letter);
        rest = &rest[octets..];
    }
    (!name.is_empty()).then_some(name)
}

fn password(user: &str) -> Option<&'static str> {
    let mut accounts = ACCOUNTS.lines().filter_map(|line| line.split_once(':'));
    accounts.find(|(name, _)| *name == user).map(|(_, password)| password)
}
