//! Values to bencoding, written front to back.

/// Writes bencoding into a buffer, one token after the other. What is opened must be ended, and the
/// keys of a dictionary must come in ascending order, each followed by one value; debug builds
/// check all of that.
///
/// ```
/// use cratetorrent::wire::bencode::Encoder;
///
/// let mut e = Encoder::new();
/// e.dict().key(b"a").int(-3).key(b"b").list().bytes(b"spam").end().end();
/// assert_eq!(e.finish(), b"d1:ai-3e1:bl4:spamee");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Encoder {
    out: Vec<u8>,
    open: Vec<Frame>,
}

/// An open list or dictionary.
#[derive(Clone, Debug)]
enum Frame {
    List,
    /// With the last key, as a range of the output, and whether its value is still to come.
    Dict {
        last_key: (usize, usize),
        wants_value: bool,
    },
}

impl Encoder {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a dictionary.
    pub fn dict(&mut self) -> &mut Self {
        self.value();
        self.out.push(b'd');
        self.open.push(Frame::Dict { last_key: (0, 0), wants_value: false });
        self
    }

    /// Begins a list.
    pub fn list(&mut self) -> &mut Self {
        self.value();
        self.out.push(b'l');
        self.open.push(Frame::List);
        self
    }

    /// Ends the innermost list or dictionary.
    pub fn end(&mut self) -> &mut Self {
        let frame = self.open.pop();
        debug_assert!(
            matches!(frame, Some(Frame::List | Frame::Dict { wants_value: false, .. })),
            "nothing to end, or a key without a value"
        );
        self.out.push(b'e');
        self
    }

    /// The next key of the innermost dictionary, greater than the one before.
    pub fn key(&mut self, key: &[u8]) -> &mut Self {
        let range = self.string(key);
        match self.open.last_mut() {
            Some(Frame::Dict { last_key, wants_value }) => {
                debug_assert!(!*wants_value, "two keys in a row");
                debug_assert!(
                    last_key.1 == 0 || self.out.get(last_key.0..last_key.1) < Some(key),
                    "key {:?} is out of order",
                    key.escape_ascii().to_string()
                );
                (*last_key, *wants_value) = (range, true);
            }
            _ => debug_assert!(false, "a key outside a dictionary"),
        }
        self
    }

    /// A string.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.value();
        self.string(bytes);
        self
    }

    /// An integer.
    pub fn int(&mut self, int: i64) -> &mut Self {
        self.value();
        self.out.push(b'i');
        self.out.extend_from_slice(int.to_string().as_bytes());
        self.out.push(b'e');
        self
    }

    /// An integer; those beyond the 63 bits that everybody reads become the largest that everybody
    /// does.
    pub fn uint(&mut self, int: u64) -> &mut Self {
        self.int(i64::try_from(int).unwrap_or(i64::MAX))
    }

    /// A value that is bencoded already.
    pub fn raw(&mut self, value: &[u8]) -> &mut Self {
        self.value();
        self.out.extend_from_slice(value);
        self
    }

    /// What was written.
    pub fn finish(self) -> Vec<u8> {
        debug_assert!(
            self.open.is_empty(),
            "{} lists or dictionaries were not ended",
            self.open.len()
        );
        self.out
    }

    /// Notes that a value begins here.
    fn value(&mut self) {
        if let Some(Frame::Dict { wants_value, .. }) = self.open.last_mut() {
            debug_assert!(*wants_value, "a value without a key");
            *wants_value = false;
        }
    }

    /// Writes a string and tells where its bytes are.
    fn string(&mut self, bytes: &[u8]) -> (usize, usize) {
        self.out.extend_from_slice(bytes.len().to_string().as_bytes());
        self.out.push(b':');
        let start = self.out.len();
        self.out.extend_from_slice(bytes);
        (start, self.out.len())
    }
}
