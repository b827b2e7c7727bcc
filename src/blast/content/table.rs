//! Files of values: a CSV file whose columns templates name, and a list of addresses.

use std::io;
use std::path::{Path, PathBuf};

use crate::host;
use crate::limits::{CORPUS_MESSAGES_MAX, TABLE_BYTES_MAX};

/// A CSV file with a header line (RFC 4180). The n-th message takes the n-th row, then from the first
/// again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Table {
    pub path: PathBuf,
    pub columns: Vec<String>,
    /// Never empty; each has as many fields as there are columns.
    pub rows: Vec<TableRow>,
}

/// One row of a CSV file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TableRow {
    /// Where it begins in the file, from 1.
    pub line: u64,
    pub fields: Vec<String>,
}

/// One line of a list of addresses.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listed {
    pub line: u64,
    pub text: String,
}

/// Why a file of values cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error("cannot read {}: {error}", .path.display())]
    Read { path: PathBuf, error: io::Error },
    #[error("{} is no CSV file: {error}", .path.display())]
    Csv { path: PathBuf, error: csv::Error },
    #[error("{} holds nothing to send; a CSV file has a line of column names and rows", .0.display())]
    NoRows(PathBuf),
    #[error("{} holds no address; write one in each line", .0.display())]
    NoAddress(PathBuf),
    #[error("{} has more than {CORPUS_MESSAGES_MAX} lines, each of which is kept in memory; split it", .0.display())]
    TooMany(PathBuf),
}

impl Table {
    /// Reads a CSV file as a whole.
    ///
    /// # Errors
    /// A file that cannot be read, that is no CSV, or that has no rows or too many.
    pub fn load(path: &Path) -> Result<Self, TableError> {
        let failed = |error| TableError::Csv { path: path.to_owned(), error };
        let text = read(path)?;
        let mut reader =
            csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(text.as_slice());
        let columns = reader.headers().map_err(failed)?.iter().map(str::to_owned).collect();
        let mut rows = Vec::new();
        let (mut line, mut seen) = (1, 0);
        for record in reader.into_records() {
            let record = record.map_err(failed)?;
            // The reader may stand before the line end of the row before.
            let start = record.position().map_or(0, csv::Position::byte) as usize;
            let start =
                start + text[start..].iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
            line += memchr::memchr_iter(b'\n', &text[seen..start]).count() as u64;
            seen = start;
            rows.push(TableRow { line, fields: record.iter().map(str::to_owned).collect() });
            if rows.len() > CORPUS_MESSAGES_MAX {
                return Err(TableError::TooMany(path.to_owned()));
            }
        }
        if rows.is_empty() {
            return Err(TableError::NoRows(path.to_owned()));
        }
        Ok(Self { path: path.to_owned(), columns, rows })
    }

    /// Names a row in an error.
    pub fn place(&self, row: &TableRow) -> String {
        format!("{} line {}", self.path.display(), row.line)
    }
}

/// One address to a line; empty lines and lines that begin with `#` are passed over.
pub fn list(path: &Path) -> Result<Vec<Listed>, TableError> {
    let text = read(path)?;
    let text = String::from_utf8(text).map_err(|error| TableError::Read {
        path: path.to_owned(),
        error: io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()),
    })?;
    let lines = (1..).zip(text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)));
    let listed: Vec<_> = lines
        .filter(|(_, text)| !text.is_empty() && !text.starts_with('#'))
        .map(|(line, text)| Listed { line, text: text.to_owned() })
        .collect();
    match listed.len() {
        0 => Err(TableError::NoAddress(path.to_owned())),
        count if count > CORPUS_MESSAGES_MAX => Err(TableError::TooMany(path.to_owned())),
        _ => Ok(listed),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TableError> {
    host::read_text(path, TABLE_BYTES_MAX)
        .map_err(|error| TableError::Read { path: path.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        file
    }

    #[test]
    fn rows_know_their_columns_and_lines() {
        let file = file("\u{feff}user, name\r\nada,\"Love\nlace\"\r\nbob,\"B, \"\"C\"\"\"\n");
        let table = Table::load(file.path()).unwrap();
        assert_eq!(table.columns, ["user", "name"]);
        let rows: Vec<_> = table.rows.iter().map(|row| (row.line, &row.fields[1][..])).collect();
        assert_eq!(rows, [(2, "Love\nlace"), (4, "B, \"C\"")]);
        assert!(table.place(&table.rows[1]).ends_with(" line 4"));
    }

    #[test]
    fn what_is_no_table_is_refused_with_its_line() {
        let error = Table::load(file("a,b\n1,2\n3\n").path()).unwrap_err();
        assert!(error.to_string().contains("line: 3"), "{error}");
        for empty in ["", "a,b\n"] {
            let error = Table::load(file(empty).path()).unwrap_err();
            assert!(matches!(error, TableError::NoRows(_)), "{error}");
        }
        let error = Table::load(Path::new("/nowhere/x.csv")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/x.csv"), "{error}");
    }

    #[test]
    fn lists_pass_over_remarks() {
        // As Notepad saves it.
        let file = file("\u{feff}# who\na@b.example\r\n\nc@d.example\n");
        let listed: Vec<_> =
            list(file.path()).unwrap().into_iter().map(|l| (l.line, l.text)).collect();
        assert_eq!(listed, [(2, "a@b.example".to_owned()), (4, "c@d.example".to_owned())]);
        assert!(matches!(
            list(tempfile::NamedTempFile::new().unwrap().path()),
            Err(TableError::NoAddress(_))
        ));
    }
}
