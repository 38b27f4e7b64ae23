//! How what is said looks: words for a person, fields with tabs for a script, or a JSON object a
//! line for a program.

use serde_json::{Map, Value};

use crate::common::print;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Columns, and numbers with units.
    Human,
    /// Fields with tabs between them: bytes, bytes per second.
    Tabs,
    /// An object a line.
    Json,
}

impl Style {
    /// Prints what has no other form: lines of words, or the object.
    pub fn tell(self, words: impl IntoIterator<Item = String>, object: impl FnOnce() -> Value) {
        match self {
            Self::Json => print(&object().to_string()),
            Self::Human | Self::Tabs => words.into_iter().for_each(|line| print(&line)),
        }
    }

    /// Prints the lines of a table: of words all at once, of objects each by itself.
    pub fn tell_all(self, words: impl FnOnce(bool) -> Vec<String>, objects: Vec<Value>) {
        match self {
            Self::Json => objects.iter().for_each(|object| print(&object.to_string())),
            Self::Human | Self::Tabs => words(self == Self::Human).iter().for_each(|l| print(l)),
        }
    }
}

/// Something that has happened or was done: a word for it, the torrent's number, and what there is
/// to say beside.
#[derive(Clone, Debug)]
pub struct Fact {
    event: &'static str,
    /// In words, where that is not the event.
    said: Option<String>,
    /// 0: the session as a whole; in an object it is left out.
    torrent: Option<u32>,
    text: String,
    fields: Map<String, Value>,
}

impl Fact {
    pub fn new(event: &'static str) -> Self {
        let fields = Map::new();
        Self { event, said: None, torrent: None, text: String::new(), fields }
    }

    /// The words for it are others.
    pub fn said(mut self, words: &str) -> Self {
        self.said = Some(words.into());
        self
    }

    pub fn of(mut self, torrent: u32) -> Self {
        self.torrent = Some(torrent);
        self
    }

    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.text = text.into();
        self
    }

    /// A field of the object, which words do not name.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.into(), value.into());
        self
    }

    /// As a line without its end.
    pub fn line(&self, style: Style) -> String {
        if style == Style::Json {
            return self.object().to_string();
        }
        let number = self.torrent.map(|number| number.to_string());
        let words = self.said.as_deref().unwrap_or(self.event);
        let parts = [Some(words), number.as_deref(), Some(self.text.as_str())];
        let parts: Vec<&str> =
            parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
        parts.join(" ")
    }

    fn object(&self) -> Value {
        let mut object = Map::new();
        object.insert("event".into(), self.event.into());
        if let Some(number) = self.torrent.filter(|&number| number > 0) {
            object.insert("torrent".into(), number.into());
        }
        if self.fields.is_empty() && !self.text.is_empty() {
            object.insert("text".into(), self.text.clone().into());
        }
        object.extend(self.fields.clone());
        Value::Object(object)
    }
}
