//! A CSV file, read line by line.
//!
//! A row is a line here: a quote that is never closed then costs one row and not the rest of the file, memory is
//! bounded by the longest line that is accepted, and a bad row is told by its true line. What a line holds is taken
//! apart by csv-core. Columns are fields, counted from 1.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use csv_core::ReadRecordResult;

/// The longest line that is read, in bytes.
const MAX_LINE: u64 = 64 * 1024;

/// What is wrong with a file, and where. Shown as `file:line:column: what`.
#[derive(Debug, Clone)]
pub struct Fault {
    file: Arc<str>,
    /// Line and column, if it is about one place.
    place: Option<(u64, usize)>,
    what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((line, column)) => write!(f, "{}:{line}:{column}: {}", self.file, self.what),
            None => write!(f, "{}: {}", self.file, self.what),
        }
    }
}

impl Error for Fault {}

/// A table of which `N` columns are wanted; others may be there, in any order.
pub struct Table<const N: usize> {
    input: BufReader<File>,
    file: Arc<str>,
    names: [&'static str; N],
    /// Where the wanted columns are.
    columns: [usize; N],
    width: usize,
    line: u64,
    buffer: Vec<u8>,
    fields: Fields,
}

/// Counts the rows below the header, good or bad. Returns `None` for what can be read only once, such as a pipe.
pub fn count_rows(path: &Path) -> Option<u64> {
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let mut table = Table::open(path, []).ok()?;
    let mut rows = 0;
    while table.read_line().ok()? {
        rows += 1;
    }
    Some(rows)
}

impl<const N: usize> Table<N> {
    /// Opens the file and finds the columns in its header.
    pub fn open(path: &Path, names: [&'static str; N]) -> Result<Self, Fault> {
        let file: Arc<str> = path.display().to_string().into();
        let open = File::open(path).map_err(|error| Fault {
            file: Arc::clone(&file),
            place: None,
            what: error.to_string(),
        })?;
        let mut table = Self {
            input: BufReader::with_capacity(MAX_LINE as usize, open),
            file,
            names,
            columns: [0; N],
            width: 0,
            line: 0,
            buffer: Vec::new(),
            fields: Fields::new(),
        };
        table.read_header()?;
        Ok(table)
    }

    fn read_header(&mut self) -> Result<(), Fault> {
        if !self.read_line()? {
            return Err(self.fault(1, 1, "the file is empty, it needs a header".to_owned()));
        }
        self.split()?;
        self.width = self.fields.len();
        for (column, name) in self.columns.iter_mut().zip(self.names) {
            match self.fields.iter().position(|field| field == name) {
                Some(index) => *column = index,
                None => {
                    let what = format!("the header has no column `{name}`");
                    return Err(self.fault(self.line, self.width + 1, what));
                }
            }
        }
        Ok(())
    }

    /// The next row, or what is wrong with it; none at the end of the file.
    ///
    /// The outer error is one of the file: there is no going on after it.
    pub fn next_row(&mut self) -> Result<Option<Result<Row<'_, N>, Fault>>, Fault> {
        if !self.read_line()? {
            return Ok(None);
        }
        if let Err(fault) = self.split() {
            return Ok(Some(Err(fault)));
        }
        let (found, wanted) = (self.fields.len(), self.width);
        if found != wanted {
            let what = format!("the row has {found} fields, the header has {wanted}");
            return Ok(Some(Err(self.fault(self.line, found.min(wanted) + 1, what))));
        }
        Ok(Some(Ok(Row { table: self })))
    }

    /// Reads the next line that is not empty, without its end; `false` at the end of the file.
    fn read_line(&mut self) -> Result<bool, Fault> {
        self.try_read_line().map_err(|error| {
            let place = (self.line > 0).then_some((self.line + 1, 1));
            Fault { file: Arc::clone(&self.file), place, what: error.to_string() }
        })
    }

    fn try_read_line(&mut self) -> io::Result<bool> {
        loop {
            self.buffer.clear();
            let read = (&mut self.input).take(MAX_LINE + 1).read_until(b'\n', &mut self.buffer)?;
            if read == 0 {
                return Ok(false);
            }
            self.line += 1;
            if self.buffer.last() == Some(&b'\n') {
                self.buffer.pop();
            } else if self.buffer.len() as u64 > MAX_LINE {
                self.input.skip_until(b'\n')?;
            }
            if self.buffer.last() == Some(&b'\r') {
                self.buffer.pop();
            }
            if !self.buffer.is_empty() {
                return Ok(true);
            }
        }
    }

    /// Takes the line in the buffer apart.
    fn split(&mut self) -> Result<(), Fault> {
        if self.buffer.len() as u64 > MAX_LINE {
            return Err(self.fault(self.line, 1, format!("the line is longer than {MAX_LINE} bytes")));
        }
        let mut line = match std::str::from_utf8(&self.buffer) {
            Ok(line) => line,
            Err(error) => {
                let commas = self.buffer[..error.valid_up_to()].iter().filter(|byte| **byte == b',').count();
                return Err(self.fault(self.line, commas + 1, "the text is not UTF-8".to_owned()));
            }
        };
        if self.line == 1 {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        self.fields.split(line);
        Ok(())
    }

    fn fault(&self, line: u64, column: usize, what: String) -> Fault {
        Fault { file: Arc::clone(&self.file), place: Some((line, column)), what }
    }
}

/// The fields of one line, unquoted, one after the other.
struct Fields {
    parser: csv_core::Reader,
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Fields {
    fn new() -> Self {
        Self { parser: csv_core::Reader::new(), text: Vec::new(), ends: Vec::new() }
    }

    fn split(&mut self, line: &str) {
        // No line has more text than bytes, nor more fields than bytes and one.
        self.text.resize(line.len(), 0);
        self.ends.resize(line.len() + 1, 0);
        self.parser.reset();
        let (mut read, mut written, mut fields) = (0, 0, 0);
        loop {
            let input = &line.as_bytes()[read..];
            let (result, r, w, f) = self.parser.read_record(input, &mut self.text[written..], &mut self.ends[fields..]);
            read += r;
            written += w;
            fields += f;
            // An empty input, next time round, tells the parser that this was the end.
            if !matches!(result, ReadRecordResult::InputEmpty) {
                break;
            }
        }
        self.ends.truncate(fields);
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, index: usize) -> &str {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        // The line is a `&str`, and it is only cut at quotes and commas.
        std::str::from_utf8(&self.text[start..self.ends[index]]).unwrap_or_default()
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|index| self.get(index))
    }
}

/// A row with as many fields as the header.
pub struct Row<'a, const N: usize> {
    table: &'a Table<N>,
}

impl<'a, const N: usize> Row<'a, N> {
    /// The wanted fields, in the order in which they were named.
    pub fn fields(&self) -> [Field<'a, N>; N] {
        std::array::from_fn(|wanted| Field { table: self.table, wanted })
    }
}

/// One field of a row.
#[derive(Clone, Copy)]
pub struct Field<'a, const N: usize> {
    table: &'a Table<N>,
    wanted: usize,
}

impl<'a, const N: usize> Field<'a, N> {
    pub fn text(self) -> &'a str {
        self.table.fields.get(self.table.columns[self.wanted])
    }

    /// Whether it says that the value is not known.
    pub fn is_na(self) -> bool {
        self.text() == "NA"
    }

    pub fn parse<V: FromStr<Err: fmt::Display>>(self) -> Result<V, Fault> {
        self.parse_with(|text| text.parse::<V>().map_err(|error| error.to_string()))
    }

    pub fn parse_unless_na<V: FromStr<Err: fmt::Display>>(self) -> Result<Option<V>, Fault> {
        if self.is_na() { Ok(None) } else { self.parse().map(Some) }
    }

    pub fn parse_with<V>(self, parse: impl FnOnce(&'a str) -> Result<V, String>) -> Result<V, Fault> {
        parse(self.text()).map_err(|why| self.fault(&why))
    }

    /// What is wrong with this field.
    pub fn fault(self, why: &str) -> Fault {
        let name = self.table.names[self.wanted];
        // The start of a long text is enough, and what it holds must not disturb the terminal.
        let text: String = self.text().chars().take(40).collect();
        let what = format!("{name} `{}`: {why}", text.escape_debug());
        self.table.fault(self.table.line, self.table.columns[self.wanted] + 1, what)
    }
}
