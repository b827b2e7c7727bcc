//! Where a client strayed from the grammar of RFC 5321 and was understood all the same.

use bitflags::bitflags;

bitflags! {
    /// The kinds of deviations that were seen, each once however often it came.
    #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
    pub struct Deviations: u32 {
        /// HELO, EHLO or LHLO with what is neither a domain nor an address literal (§4.1.1.1).
        const HELLO_NOT_A_DOMAIN = 1;
        /// MAIL or RCPT without angle brackets (§4.1.2).
        const PATH_WITHOUT_BRACKETS = 1 << 1;
        /// An address without a domain that is not Postmaster (§4.1.1.3).
        const NO_DOMAIN = 1 << 2;
        /// A final dot behind a domain (§4.1.2).
        const TRAILING_DOT_IN_DOMAIN = 1 << 3;
        /// Nothing before the at-sign.
        const NO_LOCAL_PART = 1 << 4;
        /// A local part of more than 64 octets (§4.5.3.1.1).
        const LOCAL_PART_TOO_LONG = 1 << 5;
        /// A dot at the start or the end of a local part, or two in a row (§4.1.2).
        const DOTS_IN_LOCAL_PART = 1 << 6;
        /// An at-sign, a colon or a backslash in a local part without quotes (§4.1.2).
        const SPECIAL_IN_LOCAL_PART = 1 << 7;
        /// Octets of 0x80 and more in an address, and no SMTPUTF8 (RFC 6531 §3.4).
        const UTF8_WITHOUT_SMTPUTF8 = 1 << 8;
        /// White space where there may be none, more than one space, or tabs (§4.1.1).
        const EXTRA_WHITESPACE = 1 << 9;
        /// Parameters of an extension after HELO, which switches none on (§3.2).
        const PARAMETERS_AFTER_HELO = 1 << 10;
        /// QUIT with an argument (§4.1.1.10).
        const ARGUMENT_AFTER_QUIT = 1 << 11;
        /// A CR without LF in the message (§2.3.8).
        const BARE_CR = 1 << 12;
        /// An LF without CR in the message, or where a command was to end (§2.3.8).
        const BARE_LF = 1 << 13;
        /// SIZE, BODY or AUTH given again; the last one counts (§4.1.1.11 lets each come once).
        const REPEATED_PARAMETER = 1 << 14;
        /// Angle brackets around those of the path, or a closing one without an opening one.
        const STRAY_BRACKETS = 1 << 15;
        /// A name before the address, as header fields have it (RFC 5322 §3.4).
        const DISPLAY_NAME = 1 << 16;
        /// A comment beside the address, as header fields have it (RFC 5322 §3.2.2).
        const COMMENT = 1 << 17;
        /// A path of more than 1,024 octets with its brackets and its source route; 256 are allowed (§4.5.3.1.3).
        const PATH_TOO_LONG = 1 << 18;
    }
}

impl Deviations {
    /// How many kinds there are.
    pub const KINDS: usize = NAMES.len();

    /// The kinds that are set, by their places in [`Deviations::name`].
    pub fn kinds(self) -> impl Iterator<Item = usize> {
        (0..Self::KINDS).filter(move |kind| self.bits() >> kind & 1 != 0)
    }

    /// The name of a kind in reports and records. It never changes.
    ///
    /// # Panics
    /// Where there is no such kind.
    pub fn name(kind: usize) -> &'static str {
        NAMES[kind]
    }

    /// The names of the kinds that are set, with commas between; empty without any.
    pub fn join(self) -> String {
        let mut text = String::new();
        for kind in self.kinds() {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(Self::name(kind));
        }
        text
    }
}

/// INVARIANT: in the order of the bits.
const NAMES: [&str; 19] = [
    "hello-not-a-domain",
    "path-without-brackets",
    "no-domain",
    "trailing-dot-in-domain",
    "no-local-part",
    "local-part-too-long",
    "dots-in-local-part",
    "special-in-local-part",
    "utf8-without-smtputf8",
    "extra-whitespace",
    "parameters-after-helo",
    "argument-after-quit",
    "bare-cr",
    "bare-lf",
    "repeated-parameter",
    "stray-brackets",
    "display-name",
    "comment",
    "path-too-long",
];

const _: () = assert!(Deviations::all().bits() == (1 << NAMES.len()) - 1, "each kind has a name");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_constants() {
        for (constant, flag) in Deviations::all().iter_names() {
            assert_eq!(flag.join(), constant.to_ascii_lowercase().replace('_', "-"));
        }
    }

    #[test]
    fn several_are_joined_in_one_order() {
        let two = Deviations::BARE_LF | Deviations::NO_DOMAIN;
        assert_eq!(two.join(), "no-domain,bare-lf");
        assert_eq!(Deviations::empty().join(), "");
        assert_eq!(two.kinds().count(), 2);
    }
}
