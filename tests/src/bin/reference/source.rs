//! `docs/keys.toml`: what is said of each key, once.

use serde::Deserialize;

/// Everything that is said of the configuration's keys.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    /// What the man page begins with.
    pub(crate) description: String,
    #[serde(rename = "section")]
    pub(crate) sections: Vec<Section>,
}

/// Keys that belong together.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Section {
    pub(crate) title: String,
    /// Its keys must be the same on all nodes; else each node has its own.
    #[serde(default)]
    pub(crate) shared: bool,
    #[serde(default)]
    pub(crate) text: String,
    #[serde(default, rename = "key")]
    pub(crate) keys: Vec<Key>,
}

/// A key of the configuration, or of an object inside a key's value.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Key {
    pub(crate) name: String,
    /// What its value is.
    pub(crate) form: String,
    /// The least and the greatest number, as `LEAST to GREATEST`.
    pub(crate) range: Option<String>,
    pub(crate) unit: Option<String>,
    /// The value that counts when the key is absent, as it stands in a file.
    pub(crate) default: Option<String>,
    /// What counts when the key is absent, where no value says it. A key with
    /// neither is required.
    pub(crate) without: Option<String>,
    /// A reload does not change it.
    #[serde(default)]
    pub(crate) at_start: bool,
    pub(crate) meaning: String,
    /// Single values and what they mean.
    #[serde(default)]
    pub(crate) values: Vec<(String, String)>,
    /// Why one would choose which value.
    #[serde(default)]
    pub(crate) choose: String,
    /// As it stands in a file.
    #[serde(default)]
    pub(crate) example: String,
    /// Objects inside its value.
    #[serde(default, rename = "object")]
    pub(crate) objects: Vec<Object>,
}

/// An object inside a key's value.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Object {
    pub(crate) title: String,
    /// Its keys; of each only form, default and meaning are told.
    #[serde(rename = "key")]
    pub(crate) keys: Vec<Key>,
    /// What concerns several of its keys.
    #[serde(default)]
    pub(crate) text: String,
}

impl Source {
    /// All keys, each with whether all nodes share it.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (&Key, bool)> {
        self.sections
            .iter()
            .flat_map(|section| section.keys.iter().map(|key| (key, section.shared)))
    }
}

impl Key {
    /// What its value may be.
    pub(crate) fn form(&self) -> String {
        let range = self.range.iter().map(|range| format!(" from {range}"));
        let unit = self.unit.iter().map(|unit| format!(", in {unit}"));
        std::iter::once(self.form.clone()).chain(range).chain(unit).collect()
    }

    /// What counts when it is absent.
    pub(crate) fn absent(&self) -> String {
        match (&self.default, &self.without) {
            (Some(default), _) => format!("`{default}`"),
            (None, Some(without)) => without.clone(),
            (None, None) => "required".to_owned(),
        }
    }

    /// Form and default, as sentences.
    pub(crate) fn facts(&self) -> String {
        let absent = match (&self.default, &self.without) {
            (Some(default), _) => format!("Default: `{default}`."),
            (None, Some(without)) => format!("Without it: {without}."),
            (None, None) => "Required.".to_owned(),
        };
        format!("Form: {}. {absent}", self.form())
    }

    /// Where and when it counts, as sentences.
    pub(crate) fn scope(&self, shared: bool) -> String {
        let scope =
            if shared { "The same on all nodes." } else { "Each node reads it from its own file." };
        let start = if self.at_start { " Only a start reads it." } else { "" };
        format!("{scope}{start}")
    }
}
