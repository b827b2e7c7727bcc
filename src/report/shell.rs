//! A command line as a shell takes it back.

/// The words with blanks between them, quoted where a POSIX shell would otherwise read something else.
pub fn command_line(words: &[String]) -> String {
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_reads_every_word_back_as_it_was() {
        let words = [
            "p99<20ms", "a b", "it's", "", "$HOME", "`id`", "~", "a*", "\\", "ä", "x;y",
            "--to=a@b", "#1", "=x", "\n",
        ];
        let line = command_line(&words.map(str::to_owned));
        let done =
            Command::new("sh").args(["-c", &format!("printf '%s\\0' {line}")]).output().unwrap();
        let read = String::from_utf8(done.stdout).unwrap();
        assert_eq!(read.split_terminator('\0').collect::<Vec<_>>(), words);
        assert_eq!(
            command_line(&["a".to_owned(), "smtp://[::1]:25".to_owned()]),
            "a 'smtp://[::1]:25'"
        );
    }
}
