//! SCRAM-SHA-256 (RFC 5802, RFC 7677) without channel binding: each side proves that it knows the
//! password, and neither sends it.

use base64::{Engine, prelude::BASE64_STANDARD};
use subtle::ConstantTimeEq;

use super::accounts::{Accounts, Credentials};
use super::fault::LoginFault;
use super::keys::{Key, Keys};
use super::nonce::Nonce;
use super::saslname::{escape, unescape};
use super::step::SaslStep;
use crate::limits::{SCRAM_ITERATIONS, SCRAM_ITERATIONS_MAX, SCRAM_NONCE_BYTES_MAX};

/// The server's half.
#[derive(Debug)]
pub struct ScramServer {
    nonce: String,
    stage: ScramStage,
}

#[derive(Debug)]
enum ScramStage {
    First,
    Final {
        user: String,
        /// Messages so far, without the channel binding's header, which comes by itself.
        said: String,
        gs2_header: String,
        /// The client's nonce and ours.
        nonce: String,
    },
    /// Our proof was sent; an empty answer is due.
    Proven {
        identity: Vec<u8>,
    },
    Over,
}

impl ScramServer {
    pub(super) fn new(nonce: &Nonce) -> Self {
        Self { nonce: nonce.text().to_owned(), stage: ScramStage::First }
    }

    pub(super) fn step(&mut self, response: &[u8], credentials: &Credentials) -> SaslStep {
        let Credentials::Listed(accounts) = credentials else {
            return SaslStep::Refused;
        };
        let Ok(text) = str::from_utf8(response) else {
            return SaslStep::Malformed;
        };
        match std::mem::replace(&mut self.stage, ScramStage::Over) {
            ScramStage::First => self.first(text, accounts).unwrap_or(SaslStep::Malformed),
            ScramStage::Final { user, said, gs2_header, nonce } => {
                let Some((proof, said)) = read_final(text, said, &gs2_header, &nonce) else {
                    return SaslStep::Malformed;
                };
                self.verify(&user, &proof, &said, accounts)
            }
            ScramStage::Proven { identity } if text.is_empty() => SaslStep::Accepted(identity),
            ScramStage::Proven { .. } | ScramStage::Over => SaslStep::Malformed,
        }
    }

    /// `client-first-message` in, `server-first-message` out (RFC 5802 §7).
    fn first(&mut self, text: &str, accounts: &Accounts) -> Option<SaslStep> {
        let mut parts = text.splitn(3, ',');
        // `y`: the client supports channel binding and saw that the server offers none.
        let binding = parts.next().filter(|flag| matches!(*flag, "n" | "y"))?;
        let acting_as = parts.next()?;
        let bare = parts.next()?;
        let mut attributes = bare.split(',');
        let user = unescape(attributes.next()?.strip_prefix("n=")?)?;
        let nonce = attributes.next()?.strip_prefix("r=")?;
        let printable = |b: u8| b.is_ascii_graphic();
        if nonce.is_empty()
            || nonce.len() > SCRAM_NONCE_BYTES_MAX
            || !nonce.bytes().all(printable)
            || !(acting_as.is_empty() || unescape(acting_as.strip_prefix("a=")?)? == user)
        {
            return None;
        }
        let nonce = format!("{nonce}{}", self.nonce);
        let salt = BASE64_STANDARD.encode(accounts.salt(&user));
        let first = format!("r={nonce},s={salt},i={SCRAM_ITERATIONS}");
        let said = format!("{bare},{first}");
        let gs2_header = format!("{binding},{acting_as},");
        self.stage = ScramStage::Final { user, said, gs2_header, nonce };
        Some(SaslStep::Challenge(first.into()))
    }

    fn verify(&mut self, user: &str, proof: &[u8], said: &str, accounts: &Accounts) -> SaslStep {
        let derive =
            |password: &str| Keys::derive(password, &accounts.salt(user), SCRAM_ITERATIONS);
        let Some(keys) = accounts.get(user).map(|account| account.keys(derive)) else {
            return SaslStep::Refused;
        };
        if !keys.check(proof, said) {
            return SaslStep::Refused;
        }
        self.stage = ScramStage::Proven { identity: user.into() };
        let signature = BASE64_STANDARD.encode(keys.signature(said));
        SaslStep::Challenge(format!("v={signature}").into())
    }
}

/// Reads `client-final-message`: the proof, and all that was said before it.
fn read_final(
    text: &str,
    said: String,
    gs2_header: &str,
    nonce: &str,
) -> Option<(Vec<u8>, String)> {
    let (without_proof, proof) = text.rsplit_once(",p=")?;
    let mut attributes = without_proof.split(',');
    let binding = attributes.next()?.strip_prefix("c=")?;
    if BASE64_STANDARD.decode(binding).ok()? != gs2_header.as_bytes()
        || attributes.next()?.strip_prefix("r=")? != nonce
    {
        return None;
    }
    Some((BASE64_STANDARD.decode(proof).ok()?, format!("{said},{without_proof}")))
}

/// The client's half.
#[derive(Debug)]
pub struct ScramClient {
    nonce: String,
    /// `client-first-message-bare`.
    first: String,
    expected: ExpectedProof,
}

#[derive(Debug)]
enum ExpectedProof {
    Salt,
    /// The server's proof.
    Signature(Key),
    Nothing,
}

/// Keys of one login, kept for the sessions that come after: deriving them is meant to be slow.
#[derive(Clone, Debug)]
pub(super) struct Derived {
    salt: Vec<u8>,
    iterations: u32,
    keys: Keys,
}

impl ScramClient {
    pub(super) fn new(user: &str, nonce: &Nonce) -> Self {
        Self::with_nonce(user, nonce.text())
    }

    fn with_nonce(user: &str, nonce: &str) -> Self {
        let first = format!("n={},r={nonce}", escape(user));
        Self { nonce: nonce.to_owned(), first, expected: ExpectedProof::Salt }
    }

    /// `client-first-message`.
    pub(super) fn first(&self) -> Vec<u8> {
        format!("n,,{}", self.first).into_bytes()
    }

    /// The answer to a challenge.
    pub(super) fn answer(
        &mut self,
        challenge: &[u8],
        password: &str,
        derived: &mut Option<Derived>,
    ) -> Result<Vec<u8>, LoginFault> {
        let text = str::from_utf8(challenge).map_err(|_| LoginFault::Challenge)?;
        match std::mem::replace(&mut self.expected, ExpectedProof::Nothing) {
            ExpectedProof::Salt => self.prove(text, password, derived),
            ExpectedProof::Signature(signature) => {
                let shown = text.strip_prefix("v=").ok_or(LoginFault::Challenge)?;
                let shown = BASE64_STANDARD.decode(shown).map_err(|_| LoginFault::Challenge)?;
                if !bool::from(shown.ct_eq(&signature)) {
                    return Err(LoginFault::Impostor);
                }
                Ok(Vec::new())
            }
            ExpectedProof::Nothing => Err(LoginFault::Challenge),
        }
    }

    fn prove(
        &mut self,
        first: &str,
        password: &str,
        derived: &mut Option<Derived>,
    ) -> Result<Vec<u8>, LoginFault> {
        let (nonce, salt, iterations) = read_first(first).ok_or(LoginFault::Challenge)?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(LoginFault::Challenge);
        }
        if iterations > SCRAM_ITERATIONS_MAX {
            return Err(LoginFault::Iterations(iterations));
        }
        let known = derived.take().filter(|d| d.salt == salt && d.iterations == iterations);
        let keys = match known {
            Some(known) => known.keys,
            None => Keys::derive(password, &salt, iterations),
        };
        // `biws` is the header `n,,` in base64.
        let without_proof = format!("c=biws,r={nonce}");
        let said = format!("{},{first},{without_proof}", self.first);
        let proof = BASE64_STANDARD.encode(keys.proof(&said));
        self.expected = ExpectedProof::Signature(keys.signature(&said));
        *derived = Some(Derived { salt, iterations, keys });
        Ok(format!("{without_proof},p={proof}").into_bytes())
    }

    /// Whether the server has proven that it knows the password too.
    pub(super) fn is_proven(&self) -> bool {
        matches!(self.expected, ExpectedProof::Nothing)
    }
}

/// Reads `server-first-message`: nonce, salt, iterations.
fn read_first(text: &str) -> Option<(&str, Vec<u8>, u32)> {
    let mut attributes = text.split(',');
    let nonce = attributes.next()?.strip_prefix("r=")?;
    let salt = BASE64_STANDARD.decode(attributes.next()?.strip_prefix("s=")?).ok()?;
    let iterations = attributes.next()?.strip_prefix("i=")?.parse().ok()?;
    (iterations > 0).then_some((nonce, salt, iterations))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                         s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                         p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const PROOF: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn example() -> ScramClient {
        ScramClient::with_nonce("user", "rOprNGfwEbeRWgbNEkqO")
    }

    /// RFC 7677 §3.
    #[test]
    fn the_client_says_what_the_example_of_the_rfc_says() {
        let mut client = example();
        assert_eq!(client.first(), b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let mut derived = None;
        for _ in 0..2 {
            // The second time with the keys that were kept.
            client = example();
            let answer = client.answer(FIRST.as_bytes(), "pencil", &mut derived).unwrap();
            assert_eq!(answer, FINAL.as_bytes());
            assert!(!client.is_proven());
            assert_eq!(client.answer(PROOF.as_bytes(), "pencil", &mut derived), Ok(Vec::new()));
            assert!(client.is_proven());
        }
    }

    /// RFC 7677 §3.
    #[test]
    fn the_server_checks_what_the_example_of_the_rfc_says() {
        let (nonce, salt, iterations) = read_first(FIRST).unwrap();
        let keys = Keys::derive("pencil", &salt, iterations);
        let said = format!("n=user,r=rOprNGfwEbeRWgbNEkqO,{FIRST}");
        let (proof, said) = read_final(FINAL, said, "n,,", nonce).unwrap();
        assert!(keys.check(&proof, &said));
        assert_eq!(format!("v={}", BASE64_STANDARD.encode(keys.signature(&said))), PROOF);
        assert!(!Keys::derive("pen", &salt, iterations).check(&proof, &said));
        assert!(!keys.check(&proof[1..], &said));
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_found_out() {
        let mut client = example();
        client.answer(FIRST.as_bytes(), "pencil", &mut None).unwrap();
        let forged = b"v=AAAATRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert_eq!(client.answer(forged, "pencil", &mut None), Err(LoginFault::Impostor));
        for bad in ["e=other-error", "v=!", "", "x"] {
            let mut client = example();
            client.answer(FIRST.as_bytes(), "pencil", &mut None).unwrap();
            let fault = client.answer(bad.as_bytes(), "pencil", &mut None);
            assert_eq!(fault, Err(LoginFault::Challenge), "{bad}");
        }
    }

    #[test]
    fn the_client_takes_no_challenge_but_its_own() {
        for (first, expected) in [
            ("", LoginFault::Challenge),
            ("r=rOprNGfwEbeRWgbNEkqO,s=AAAA,i=1", LoginFault::Challenge),
            ("r=other,s=AAAA,i=1", LoginFault::Challenge),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=!,i=1", LoginFault::Challenge),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=0", LoginFault::Challenge),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=AAAA", LoginFault::Challenge),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=4000000000", LoginFault::Iterations(4_000_000_000)),
        ] {
            let answer = example().answer(first.as_bytes(), "pencil", &mut None);
            assert_eq!(answer, Err(expected), "{first}");
        }
    }

    fn listed() -> Credentials {
        Credentials::Listed(Accounts::parse(b"user:pencil\na,b=c:d", 1).unwrap().into())
    }

    #[test]
    fn malformed_first_messages_are_called_so() {
        for bad in [
            "",
            "n,,",
            "n,,n=user",
            "n,,r=abc,n=user",
            "p=tls-unique,,n=user,r=abc",
            "n,a=other,n=user,r=abc",
            "n,,m=ext,n=user,r=abc",
            "n,,n=,r=abc",
            "n,,n=us=er,r=abc",
            "n,,n=us=2cer,r=abc",
            "n,,n=user,r=",
            "n,,n=user,r=a b",
        ] {
            let mut server = ScramServer::new(&Nonce::new(1, 1));
            assert_eq!(server.step(bad.as_bytes(), &listed()), SaslStep::Malformed, "{bad}");
        }
        for (length, good) in [(SCRAM_NONCE_BYTES_MAX, true), (SCRAM_NONCE_BYTES_MAX + 1, false)] {
            let first = format!("n,,n=user,r={}", "x".repeat(length));
            let step = ScramServer::new(&Nonce::new(1, 1)).step(first.as_bytes(), &listed());
            assert_eq!(matches!(step, SaslStep::Challenge(_)), good, "{length}");
        }
        for good in ["y,,n=user,r=abc", "n,a=user,n=user,r=abc", "n,,n=user,r=abc,x=1"] {
            let step = ScramServer::new(&Nonce::new(1, 1)).step(good.as_bytes(), &listed());
            assert!(matches!(step, SaslStep::Challenge(_)), "{good}");
        }
    }

    #[test]
    fn both_halves_agree_on_names_with_commas_and_equals_signs() {
        for (user, password, good) in [
            ("a,b=c", "d", true),
            ("user", "pencil", true),
            ("user", "x", false),
            ("no", "x", false),
        ] {
            let mut server = ScramServer::new(&Nonce::new(1, 1));
            let mut client = ScramClient::new(user, &Nonce::new(2, 1));
            let SaslStep::Challenge(first) = server.step(&client.first(), &listed()) else {
                panic!("a challenge is due");
            };
            let answer = client.answer(&first, password, &mut None).unwrap();
            match server.step(&answer, &listed()) {
                SaslStep::Challenge(proof) if good => {
                    assert_eq!(client.answer(&proof, password, &mut None), Ok(Vec::new()));
                    assert_eq!(server.step(b"", &listed()), SaslStep::Accepted(user.into()));
                }
                step => assert_eq!((step, good), (SaslStep::Refused, false)),
            }
        }
    }
}
