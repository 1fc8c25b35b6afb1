//! The models that may be loaded, and how a name finds one.

use std::collections::HashMap;
use std::sync::Arc;

use crate::instance::messages::ModelError;
use crate::settings::model::ModelSpec;

/// All configured models, in file order, with an index by name and by full name.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    models: Vec<Arc<ModelSpec>>,
    by_name: HashMap<String, usize>,
    by_fullname: HashMap<String, usize>,
}

impl Catalogue {
    /// The catalogue of these models. Of two with the same name or full name the first is found.
    pub fn new(models: Vec<Arc<ModelSpec>>) -> Self {
        let mut by_name = HashMap::new();
        let mut by_fullname = HashMap::new();
        for (index, model) in models.iter().enumerate() {
            by_name.entry(model.name.to_string()).or_insert(index);
            if let Some(fullname) = &model.fullname {
                by_fullname.entry(fullname.clone()).or_insert(index);
            }
        }
        Self { models, by_name, by_fullname }
    }

    /// All models, in file order.
    pub fn models(&self) -> &[Arc<ModelSpec>] {
        &self.models
    }

    /// Finds a model: exactly by name, then exactly by full name.
    ///
    /// # Errors
    /// [`ModelError::Unknown`], with the names that differ only in case.
    pub fn find(&self, name: &str) -> Result<&Arc<ModelSpec>, ModelError> {
        let index = self.by_name.get(name).or_else(|| self.by_fullname.get(name));
        index.map(|index| &self.models[*index]).ok_or_else(|| ModelError::Unknown {
            name: shortened(name),
            similar: self.similar(name),
        })
    }

    /// The place of a model in file order.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    fn similar(&self, name: &str) -> Vec<String> {
        let wanted = name.to_lowercase();
        let same = |text: &str| text.to_lowercase() == wanted;
        self.models
            .iter()
            .filter(|model| {
                same(model.name.as_str()) || model.fullname.as_deref().is_some_and(same)
            })
            .map(|model| model.name.to_string())
            .collect()
    }
}

/// An unknown name is echoed in the error, so it must not carry a megabyte back.
fn shortened(name: &str) -> String {
    match name.char_indices().nth(crate::limits::MODEL_NAME_BYTES) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ModelName;

    fn catalogue(names: &[(&str, Option<&str>)]) -> Catalogue {
        let models = names.iter().map(|(name, fullname)| {
            Arc::new(ModelSpec {
                name: ModelName::try_new(name).expect("valid"),
                fullname: fullname.map(str::to_owned),
                model_type: "t".into(),
                backend: None,
                path: None,
                autostart: false,
                after: Vec::new(),
                group: None,
            })
        });
        Catalogue::new(models.collect())
    }

    fn error(catalogue: &Catalogue, name: &str) -> String {
        catalogue.find(name).map(|m| m.name.to_string()).expect_err("unknown").to_string()
    }

    #[test]
    fn name_wins_over_fullname() {
        let c = catalogue(&[("a", Some("b")), ("b", None)]);
        assert_eq!(c.find("b").expect("known").name.as_str(), "b");
        assert_eq!(
            catalogue(&[("a", Some("org/b"))]).find("org/b").expect("known").name.as_str(),
            "a"
        );
    }

    #[test]
    fn unknown_names_are_told_with_similar_ones_in_file_order() {
        let c = catalogue(&[("Llama", None), ("LLAMA", None), ("Phi", None)]);
        assert_eq!(error(&c, "nope"), "Unknown model 'nope' - not found in configuration");
        assert_eq!(
            error(&c, "phi"),
            "Unknown model 'phi' - not found in configuration. Similar model name found. Do you mean: Phi?"
        );
        assert_eq!(
            error(&c, "llama"),
            "Unknown model 'llama' - not found in configuration. Similar model names found. Do you mean: Llama, LLAMA?"
        );
    }
}
