//! How many replies a session was given, by what they answer and by their class.

use std::ops::AddAssign;

use crate::smtp::command::Verb;

/// What a reply answers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(usize)]
pub enum VerbClass {
    /// The connection: the greeting.
    Connect,
    /// MAIL, and the commands of RFC 821 that are taken for it.
    Mail,
    Rcpt,
    /// DATA, and a BDAT chunk that is not the last.
    Data,
    /// The end of a message: the final dot, and the last BDAT chunk.
    EndOfData,
    #[default]
    Other,
}

impl VerbClass {
    pub const ALL: [Self; 6] =
        [Self::Connect, Self::Mail, Self::Rcpt, Self::Data, Self::EndOfData, Self::Other];

    pub(super) fn of(verb: Verb) -> Self {
        match verb {
            Verb::Mail | Verb::Saml | Verb::Send | Verb::Soml => Self::Mail,
            Verb::Rcpt => Self::Rcpt,
            Verb::Data | Verb::Bdat => Self::Data,
            _ => Self::Other,
        }
    }
}

/// Replies, counted two ways.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ReplyCounts {
    /// By what they answer, in the order of [`VerbClass::ALL`].
    pub by_verb: [u32; VerbClass::ALL.len()],
    /// By the first digit of their code, from 2 to 5.
    pub by_class: [u32; 4],
}

impl ReplyCounts {
    /// Counts `replies` replies whose code begins with `digit`, an ASCII digit from 2 to 5.
    #[inline]
    pub fn count(&mut self, verb: VerbClass, digit: u8, replies: usize) {
        debug_assert!((b'2'..=b'5').contains(&digit), "no reply begins with {digit}");
        self.by_verb[verb as usize] += replies as u32;
        self.by_class[usize::from(digit.wrapping_sub(b'2') & 3)] += replies as u32;
    }

    /// How many replies answer this.
    pub fn of(&self, verb: VerbClass) -> u32 {
        self.by_verb[verb as usize]
    }
}

impl AddAssign for ReplyCounts {
    fn add_assign(&mut self, other: Self) {
        for (sum, more) in self.by_verb.iter_mut().zip(other.by_verb) {
            *sum += more;
        }
        for (sum, more) in self.by_class.iter_mut().zip(other.by_class) {
            *sum += more;
        }
    }
}

const _: () = {
    let mut index = 0;
    while index < VerbClass::ALL.len() {
        assert!(VerbClass::ALL[index] as usize == index);
        index += 1;
    }
};
