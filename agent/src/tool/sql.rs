//! A tool's SQL statement, taken apart: what stands in it, and the fields that are filled in.
//!
//! `{field}` outside of quotes and comments is a parameter of the statement. What a model writes is never joined to its
//! text, so no input can change what the statement does. This reads just enough SQL to tell quotes and comments from the
//! rest, and to find the few things that can be said of a statement without a database. Start at [`parse`].

use super::template::ENV_PREFIX;

/// A statement that was taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// What stands around the fields: one piece more than there are fields.
    pub pieces: Vec<String>,
    /// The fields in order; one that stands there twice is here twice.
    pub fields: Vec<String>,
    tokens: Vec<Token>,
}

/// Why a text is no statement of a tool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SqlError {
    /// A quote, a comment or a brace without its end.
    #[error("{0} that is never closed")]
    Unclosed(&'static str),
    /// `}` without its `{`.
    #[error("a '}}' that nothing opened")]
    Unopened,
    /// `{}`.
    #[error("an empty '{{}}'")]
    Empty,
    /// A place that a field cannot have.
    #[error("'{{{0}}}', which is no field of the input")]
    NotAField(String),
    /// `$1`.
    #[error("the parameter ${0}")]
    Parameter(char),
    /// Something after a semicolon.
    #[error("a second statement")]
    Several,
    /// No word at all.
    #[error("no statement")]
    Nothing,
}

/// What is left of a statement for those who look at its words.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A keyword or a name, in small letters.
    Word(String),
    /// A name in double quotes, as it stands.
    Name(String),
    /// What stands between single quotes, or dollars.
    Text(String),
    /// Anything else.
    Mark(char),
}

/// Verbs that change something.
const WRITING: [&str; 4] = ["insert", "update", "delete", "merge"];

/// Verbs that read.
const READING: [&str; 3] = ["select", "values", "table"];

impl Statement {
    /// What the statement does: its verb, behind whatever stands before it in a `with`.
    pub fn verb(&self) -> Option<&str> {
        let mut words = self.top_words();
        let first = words.next()?;
        if first != "with" {
            return Some(first);
        }
        words.find(|word| is_verb(word))
    }

    /// Whether it does nothing but read, as far as its own words say.
    pub fn reads(&self) -> bool {
        self.verb().is_some_and(|verb| READING.contains(&verb)) && !self.has_writing_part()
    }

    /// Whether it is one that a tool can have: it reads, or it writes rows.
    pub fn is_sound(&self) -> bool {
        self.verb().is_some_and(is_verb)
    }

    /// Whether it gives rows.
    pub fn returns_rows(&self) -> bool {
        self.verb().is_some_and(|verb| READING.contains(&verb)) || self.top_words().any(|word| word == "returning")
    }

    /// Whether a part of its `with` writes.
    pub fn has_writing_part(&self) -> bool {
        let is_word =
            |token: &Token, words: &[&str]| matches!(token, Token::Word(word) if words.contains(&word.as_str()));
        let mut parts = self.tokens.windows(3);
        parts.any(|part| {
            let opens = is_word(&part[0], &["as", "materialized"]) && part[1] == Token::Mark('(');
            opens && is_word(&part[2], &WRITING)
        })
    }

    /// Whether it changes or deletes every row: it has no `where`.
    pub fn spares_nothing(&self) -> bool {
        let verb = self.verb();
        (verb == Some("update") || verb == Some("delete")) && !self.top_words().any(|word| word == "where")
    }

    /// Whether it names something in that schema.
    pub fn names_schema(&self, schema: &str) -> bool {
        let is_schema = |token: &Token| match token {
            Token::Word(word) => word == schema,
            Token::Name(name) => name == schema,
            Token::Text(_) | Token::Mark(_) => false,
        };
        let mut pairs = self.tokens.windows(2);
        pairs.any(|pair| is_schema(&pair[0]) && pair[1] == Token::Mark('.'))
    }

    /// A field that stands between quotes, where it is nothing but text.
    pub fn quoted_field<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
        names.into_iter().find(|name| {
            let place = format!("{{{name}}}");
            self.tokens.iter().any(|token| match token {
                Token::Text(text) | Token::Name(text) => text.contains(&place),
                Token::Word(_) | Token::Mark(_) => false,
            })
        })
    }

    /// The words outside of all parentheses.
    fn top_words(&self) -> impl Iterator<Item = &str> {
        let mut depth = 0_usize;
        // A whole statement in parentheses is read from its first word on.
        let opening = self
            .tokens
            .iter()
            .take_while(|token| **token == Token::Mark('('))
            .count();
        self.tokens.iter().skip(opening).filter_map(move |token| match token {
            Token::Mark('(') => {
                depth += 1;
                None
            }
            Token::Mark(')') => {
                depth = depth.saturating_sub(1);
                None
            }
            Token::Word(word) if depth == 0 => Some(word.as_str()),
            Token::Word(_) | Token::Name(_) | Token::Text(_) | Token::Mark(_) => None,
        })
    }
}

fn is_verb(word: &str) -> bool {
    READING.contains(&word) || WRITING.contains(&word)
}

/// Takes a statement apart.
///
/// # Errors
/// What is wrong with its quotes, its fields or its end. Whether it is sound SQL is the database's to say.
pub fn parse(text: &str) -> Result<Statement, SqlError> {
    let mut reader = Reader {
        text,
        at: 0,
        piece: 0,
        ended: None,
        statement: Statement {
            pieces: Vec::new(),
            fields: Vec::new(),
            tokens: Vec::new(),
        },
    };
    while let Some(next) = reader.peek() {
        reader.step(next)?;
    }
    let end = reader.ended.unwrap_or(text.len());
    let mut statement = reader.statement;
    statement.pieces.push(text[reader.piece..end].to_owned());
    if statement.tokens.is_empty() {
        return Err(SqlError::Nothing);
    }
    Ok(statement)
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    /// Where the piece that is being read begins.
    piece: usize,
    /// Where the semicolon stands.
    ended: Option<usize>,
    statement: Statement,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Reads on behind the next occurrence of the mark; what stands before it.
    fn until(&mut self, mark: &str, what: &'static str) -> Result<&'t str, SqlError> {
        let length = self.rest().find(mark).ok_or(SqlError::Unclosed(what))?;
        let found = &self.rest()[..length];
        self.at += length + mark.len();
        Ok(found)
    }

    fn step(&mut self, next: char) -> Result<(), SqlError> {
        let rest = self.rest();
        if next.is_whitespace() {
            self.at += next.len_utf8();
            return Ok(());
        }
        if rest.starts_with("--") {
            self.at += rest.find('\n').map_or(rest.len(), |length| length + 1);
            return Ok(());
        }
        if rest.starts_with("/*") {
            return self.comment();
        }
        if self.ended.is_some() {
            return Err(SqlError::Several);
        }
        match next {
            '\'' => self.text_in_quotes(false),
            '"' => self.name_in_quotes(),
            '$' => self.dollar(),
            '{' => self.field(),
            '}' => Err(SqlError::Unopened),
            ';' => {
                self.ended = Some(self.at);
                self.at += 1;
                Ok(())
            }
            letter if is_letter(letter) => self.word(),
            mark => {
                self.at += mark.len_utf8();
                self.statement.tokens.push(Token::Mark(mark));
                Ok(())
            }
        }
    }

    /// Comments hold comments.
    fn comment(&mut self) -> Result<(), SqlError> {
        let mut depth = 0_usize;
        loop {
            let rest = self.rest();
            let opens = rest.find("/*");
            let closes = rest.find("*/").ok_or(SqlError::Unclosed("a comment"))?;
            match opens {
                Some(opens) if opens < closes => {
                    depth += 1;
                    self.at += opens + 2;
                }
                Some(_) | None => {
                    depth -= 1;
                    self.at += closes + 2;
                }
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    fn text_in_quotes(&mut self, has_escapes: bool) -> Result<(), SqlError> {
        self.at += 1;
        let from = self.at;
        let mut letters = self.rest().char_indices().peekable();
        while let Some((offset, letter)) = letters.next() {
            match letter {
                '\\' if has_escapes => {
                    letters.next();
                }
                '\'' if letters.peek().is_some_and(|(_, next)| *next == '\'') => {
                    letters.next();
                }
                '\'' => {
                    let text = self.text[from..from + offset].to_owned();
                    self.at = from + offset + 1;
                    self.statement.tokens.push(Token::Text(text));
                    return Ok(());
                }
                _ => {}
            }
        }
        Err(SqlError::Unclosed("a quote"))
    }

    fn name_in_quotes(&mut self) -> Result<(), SqlError> {
        self.at += 1;
        let mut name = String::new();
        loop {
            name.push_str(self.until("\"", "a double quote")?);
            if !self.rest().starts_with('"') {
                break;
            }
            self.at += 1;
            name.push('"');
        }
        self.statement.tokens.push(Token::Name(name));
        Ok(())
    }

    /// Text between dollars, or a parameter, which nobody would give.
    fn dollar(&mut self) -> Result<(), SqlError> {
        self.at += 1;
        let rest = self.rest();
        if let Some(digit) = rest.chars().next().filter(char::is_ascii_digit) {
            return Err(SqlError::Parameter(digit));
        }
        let tag: String = rest
            .chars()
            .take_while(|letter| is_inner(*letter) && *letter != '$')
            .collect();
        if !rest[tag.len()..].starts_with('$') {
            self.statement.tokens.push(Token::Mark('$'));
            return Ok(());
        }
        self.at += tag.len() + 1;
        let text = self.until(&format!("${tag}$"), "a quote in dollars")?.to_owned();
        self.statement.tokens.push(Token::Text(text));
        Ok(())
    }

    fn field(&mut self) -> Result<(), SqlError> {
        let before = self.text[self.piece..self.at].to_owned();
        self.at += 1;
        let name = self.until("}", "a '{'")?;
        if name.is_empty() {
            return Err(SqlError::Empty);
        }
        if name.starts_with(ENV_PREFIX) || name.contains(['{', '\n']) {
            return Err(SqlError::NotAField(name.to_owned()));
        }
        self.piece = self.at;
        self.statement.pieces.push(before);
        self.statement.fields.push(name.to_owned());
        self.statement.tokens.push(Token::Mark('?'));
        Ok(())
    }

    fn word(&mut self) -> Result<(), SqlError> {
        let word: String = self.rest().chars().take_while(|letter| is_inner(*letter)).collect();
        self.at += word.len();
        // E'…' is a text with escapes, and the other prefixes change nothing of where a text ends.
        if self.rest().starts_with('\'') && ["e", "E", "b", "B", "x", "X", "n", "N"].contains(&word.as_str()) {
            return self.text_in_quotes(word.eq_ignore_ascii_case("e"));
        }
        self.statement.tokens.push(Token::Word(word.to_lowercase()));
        Ok(())
    }
}

fn is_letter(letter: char) -> bool {
    letter.is_ascii_alphabetic() || letter == '_' || !letter.is_ascii()
}

fn is_inner(letter: char) -> bool {
    is_letter(letter) || letter.is_ascii_digit() || letter == '$'
}

#[cfg(test)]
mod tests;
