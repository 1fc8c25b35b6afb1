//! Placeholders in the command line of a backend: `{port}`, `{{` for a brace.

use std::fmt;

use super::fault::hint;
use super::path::shown;

/// What may stand in braces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Placeholder {
    /// `ipc://…`, or `http://127.0.0.1:port`.
    Endpoint,
    /// The TCP port of a backend of kind `http`.
    Port,
    /// The model's name.
    Name,
    /// Its full name; its name where it has none.
    Fullname,
    /// Its `path`.
    Path,
    /// The id of the instance.
    Instance,
    /// The folder that holds `path`.
    ModelDir,
}

impl Placeholder {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Endpoint,
        Self::Port,
        Self::Name,
        Self::Fullname,
        Self::Path,
        Self::Instance,
        Self::ModelDir,
    ];

    /// The word between the braces.
    pub fn word(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint",
            Self::Port => "port",
            Self::Name => "name",
            Self::Fullname => "fullname",
            Self::Path => "path",
            Self::Instance => "instance",
            Self::ModelDir => "model_dir",
        }
    }
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}", self.word())
    }
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Place(Placeholder),
}

/// One argument with its placeholders. What is put in is never looked through for further ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

impl Template {
    /// Reads an argument.
    ///
    /// # Errors
    /// What is wrong with its braces, in words for the person who wrote it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            let end = rest.find('}').filter(|_| brace == "{").ok_or_else(|| {
                format!("a single '{brace}' in '{}'; a brace itself is written twice", shown(text))
            })?;
            let word = &rest[..end];
            let known = Placeholder::ALL.into_iter().find(|known| known.word() == word);
            let place = known.ok_or_else(|| {
                let hint = hint(word, Placeholder::ALL.map(Placeholder::word));
                format!("unknown placeholder '{{{}}}'{hint}", shown(word))
            })?;
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Place(place));
            rest = &rest[end + 1..];
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self(pieces))
    }

    /// The placeholders in it, in order.
    pub fn placeholders(&self) -> impl Iterator<Item = Placeholder> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Place(place) => Some(*place),
            Piece::Text(_) => None,
        })
    }

    /// The argument with every placeholder replaced by what `value` has for it.
    ///
    /// # Errors
    /// The first placeholder that `value` has nothing for.
    pub fn expand(
        &self,
        value: impl Fn(Placeholder) -> Option<String>,
    ) -> Result<String, Placeholder> {
        self.0.iter().try_fold(String::new(), |mut argument, piece| {
            match piece {
                Piece::Text(text) => argument.push_str(text),
                Piece::Place(place) => argument.push_str(&value(*place).ok_or(*place)?),
            }
            Ok(argument)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn placeholders_are_replaced_once_and_braces_are_escaped() {
        let template = Template::parse("{{{name}}}:{port}").expect("is a template");
        let text = template.expand(|place| match place {
            Placeholder::Name => Some("{port}".into()),
            Placeholder::Port => Some("80".into()),
            _ => None,
        });
        assert_eq!(text, Ok("{{port}}:80".into()));
        assert_eq!(
            Template::parse("{path}").expect("is one").expand(|_| None),
            Err(Placeholder::Path)
        );
    }

    #[test]
    fn unknown_placeholders_name_the_nearest() {
        let fault = Template::parse("--port={prot}").expect_err("is unknown");
        assert_eq!(fault, "unknown placeholder '{prot}', did you mean 'port'?");
        for text in ["{", "}", "a}b", "{port", "{}", "{{}"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_escaped(text: String) {
            let escaped = text.replace('{', "{{").replace('}', "}}");
            let template = Template::parse(&escaped).expect("escaped text has no placeholder");
            prop_assert_eq!(template.expand(|_| None), Ok(text));
        }

        #[test]
        fn no_text_panics(text in "[{}a-z_é]{0,20}") {
            let _ = Template::parse(&text);
        }
    }
}
