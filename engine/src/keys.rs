//! The keys of a feature.

/// The keys of a feature's rows, entity first; their rules are checked when the feature is compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys(Vec<String>);

impl Keys {
    /// Takes the names in order, entity first.
    pub fn new(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(names.into_iter().map(Into::into).collect())
    }

    /// The names in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none, which no feature may have.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `id, country, brand`.
impl Default for Keys {
    fn default() -> Self {
        Self::new(["id", "country", "brand"])
    }
}
