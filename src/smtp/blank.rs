//! Places of fixed width in rendered octets that are filled in for each message, so that a text is
//! rendered once and then copied.

/// Octets of the widest blank.
pub const BLANK_BYTES_MAX: usize = 64;

/// What a blank is filled with.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Fill {
    /// The last digits of the message's number, led by zeros.
    Number,
    /// Lower-case letters and the digits 2 to 7, drawn from the seed, the number and the salt.
    Random { salt: u32 },
}

/// One place.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Blank {
    /// Octets before it.
    pub at: usize,
    /// Up to [`BLANK_BYTES_MAX`].
    pub width: usize,
    pub fill: Fill,
}

/// What tells one message from the next. The same filling makes the same octets.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Filling {
    pub number: u64,
    pub seed: u64,
}

impl Blank {
    /// The octets that belong there, in `room`.
    #[inline]
    pub fn octets(self, filling: Filling, room: &mut [u8; BLANK_BYTES_MAX]) -> &[u8] {
        let octets = &mut room[..self.width];
        match self.fill {
            Fill::Number => {
                let mut rest = filling.number;
                for octet in octets.iter_mut().rev() {
                    *octet = b'0' + (rest % 10) as u8;
                    rest /= 10;
                }
            }
            Fill::Random { salt } => {
                let mut state = mix(mix(filling.seed) ^ filling.number) ^ u64::from(salt);
                // Twelve characters of five bits to a draw.
                for piece in octets.chunks_mut(12) {
                    state = mix(state);
                    for (n, octet) in piece.iter_mut().enumerate() {
                        const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
                        *octet = LETTERS[(state >> (5 * n)) as usize & 31];
                    }
                }
            }
        }
        octets
    }
}

/// Fills the blanks that lie in `window`, which begins `start` octets into the text. A blank that is
/// cut by an end of the window is filled as far as it lies within.
#[inline]
pub fn fill(blanks: &[Blank], window: &mut [u8], start: usize, filling: Filling) {
    let end = start + window.len();
    for blank in blanks {
        let (from, to) = (blank.at.max(start), (blank.at + blank.width).min(end));
        if from < to {
            let mut room = [0; BLANK_BYTES_MAX];
            let octets = blank.octets(filling, &mut room);
            window[from - start..to - start]
                .copy_from_slice(&octets[from - blank.at..to - blank.at]);
        }
    }
}

/// A good mixing of 64 bits (the finaliser of SplitMix64).
#[inline]
pub fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_keep_their_last_digits() {
        let mut room = [0; BLANK_BYTES_MAX];
        let blank = |width| Blank { at: 0, width, fill: Fill::Number };
        let filling = Filling { number: 12_345, seed: 0 };
        assert_eq!(blank(7).octets(filling, &mut room), b"0012345");
        assert_eq!(blank(3).octets(filling, &mut room), b"345");
        let largest = Filling { number: u64::MAX, seed: 0 };
        assert_eq!(blank(22).octets(largest, &mut room), b"0018446744073709551615");
    }

    #[test]
    fn random_text_hangs_on_seed_number_and_salt_alone() {
        let text = |seed, number, salt| {
            let blank = Blank { at: 0, width: 40, fill: Fill::Random { salt } };
            let mut room = [0; BLANK_BYTES_MAX];
            blank.octets(Filling { number, seed }, &mut room).to_vec()
        };
        assert_eq!(text(1, 2, 3), text(1, 2, 3));
        let others = [text(1, 2, 3), text(2, 2, 3), text(1, 3, 3), text(1, 2, 4), text(3, 2, 1)];
        for (n, one) in others.iter().enumerate() {
            assert!(others[n + 1..].iter().all(|other| other != one));
            assert!(one.iter().all(|b| b.is_ascii_lowercase() || (b'2'..=b'7').contains(b)));
        }
    }

    proptest! {
        #[test]
        fn windows_of_a_text_are_filled_as_the_whole_is(
            cut in 0usize..=60, number in any::<u64>(), seed in any::<u64>(),
        ) {
            let blanks = [
                Blank { at: 3, width: 12, fill: Fill::Number },
                Blank { at: 15, width: 8, fill: Fill::Random { salt: 1 } },
                Blank { at: 40, width: 20, fill: Fill::Random { salt: 2 } },
            ];
            let filling = Filling { number, seed };
            let mut whole = [b'-'; 60];
            fill(&blanks, &mut whole, 0, filling);
            let mut pieces = [b'-'; 60];
            let (one, two) = pieces.split_at_mut(cut);
            fill(&blanks, one, 0, filling);
            fill(&blanks, two, cut, filling);
            prop_assert_eq!(&whole, &pieces);
            prop_assert_eq!(whole.iter().filter(|&&b| b == b'-').count(), 20);
        }
    }
}
