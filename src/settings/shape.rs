//! The shape of a configuration: what the schema says about it, in words for the person who wrote it.

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind as Kind;
use serde_json::Value;

use super::document::Form;
use super::fault::{Faults, hint};
use super::path::{KeyPath, Step, shown};
use super::schema::{choices, format_fault, inlined, known_keys, types, validator};

/// Checks `document` against the schema and takes out what does not fit, so that the rest can be checked further.
///
/// In the seed form, unknown keys of the seed's own tables become `warnings`.
pub(super) fn check(
    document: &mut Value,
    form: Form,
    faults: &mut Faults,
    warnings: &mut Vec<String>,
) {
    let mut findings = Vec::new();
    for error in validator().iter_errors(document) {
        explain(&error, document, &mut findings);
    }
    for finding in &findings {
        match &finding.what {
            What::Unknown { hint } if form == Form::Seed && is_seed_table(&finding.at) => {
                warnings.push(format!("{}: unknown key is ignored{hint}", finding.at));
            }
            What::Unknown { hint } => faults.push(finding.at.clone(), format!("unknown key{hint}")),
            What::Wrong(message) => faults.push(finding.at.clone(), message.as_str()),
            What::Missing => faults.push(finding.at.clone(), "required key is missing"),
        }
    }
    for finding in findings {
        remove(document, &finding.at);
    }
}

struct Finding {
    at: KeyPath,
    what: What,
}

enum What {
    Unknown { hint: String },
    Missing,
    Wrong(String),
}

/// The tables of the seed format, whose unknown keys have always been ignored: the whole file, `endpoints`, `logging`
/// and the models themselves.
fn is_seed_table(unknown_key: &KeyPath) -> bool {
    match unknown_key.steps() {
        [Step::Key(_)] => true,
        [Step::Key(section), Step::Key(_)] => section == "endpoints" || section == "logging",
        [Step::Key(section), Step::Index(_), Step::Key(_)] => section == "supported_models",
        _ => false,
    }
}

fn explain(error: &ValidationError<'_>, document: &Value, findings: &mut Vec<Finding>) {
    let at = KeyPath::from_pointer(error.instance_path().as_str(), document);
    let schema = speaking_schema(error);
    let mut wrong =
        |message: String| findings.push(Finding { at: at.clone(), what: What::Wrong(message) });
    match error.kind() {
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            findings.extend(unexpected.iter().map(|key| Finding {
                at: at.key(key.as_str()),
                what: What::Unknown { hint: hint(key, known_keys(schema)) },
            }));
        }
        Kind::Required { property } => {
            let key = property.as_str().unwrap_or_default();
            findings.push(Finding { at: at.key(key), what: What::Missing });
        }
        Kind::AnyOf { context } => match fitting_branch(context, error.instance_path()) {
            Some(branch) => branch.iter().for_each(|error| explain(error, document, findings)),
            None => wrong(wrong_type(schema, error.instance())),
        },
        Kind::Enum { .. } | Kind::OneOfNotValid { .. } | Kind::Constant { .. } => {
            wrong(wrong_choice(schema, error.instance()));
        }
        Kind::Type { .. } => wrong(wrong_type(schema, error.instance())),
        Kind::Format { format } => {
            let text = error.instance().as_str().unwrap_or_default();
            wrong(format_fault(format, text).unwrap_or_else(|| format!("is no {format}")));
        }
        Kind::Minimum { limit } => {
            wrong(format!("must be at least {limit}, found {}", found(error.instance())))
        }
        Kind::Maximum { limit } => {
            wrong(format!("must be at most {limit}, found {}", found(error.instance())))
        }
        Kind::MinLength { .. } | Kind::MinItems { .. } => wrong("must not be empty".into()),
        Kind::MaxItems { limit } => wrong(format!("has more than {limit} elements")),
        _ => wrong(error.masked_with("the value").to_string()),
    }
}

/// The schema whose keyword spoke.
fn speaking_schema<'a>(error: &ValidationError<'_>) -> &'a Value {
    let keyword = error.schema_path().as_str();
    let schema = keyword.rsplit_once('/').and_then(|(schema, _)| inlined().pointer(schema));
    schema.unwrap_or(&Value::Null)
}

/// Of several ways to write a value the one that was tried: the type is right, something inside is wrong.
fn fitting_branch<'a>(
    context: &'a [Vec<ValidationError<'static>>],
    here: &jsonschema::paths::Location,
) -> Option<&'a [ValidationError<'static>]> {
    let other_type = |error: &ValidationError<'_>| {
        error.instance_path() == here
            && match error.kind() {
                Kind::Type { .. } => true,
                // a choice of words was not tried by who wrote anything but a word
                Kind::OneOfNotValid { .. } | Kind::Enum { .. } => !error.instance().is_string(),
                _ => false,
            }
    };
    let mut fitting = context.iter().filter(|branch| !branch.iter().any(other_type));
    let branch = fitting.next()?;
    fitting.next().is_none().then_some(branch.as_slice())
}

fn wrong_type(schema: &Value, instance: &Value) -> String {
    if let (Some(format), Value::Number(number)) =
        (schema.get("format").and_then(Value::as_str), instance)
        && let Some(message) = format_fault(format, &number.to_string())
    {
        return message;
    }
    let mut names: Vec<_> = types(schema).into_iter().map(type_name).collect();
    names.dedup();
    format!("expected {}, found {}", names.join(" or "), found(instance))
}

fn wrong_choice(schema: &Value, instance: &Value) -> String {
    let words = choices(schema);
    let list = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(", ");
    let hint = instance.as_str().map_or_else(String::new, |text| hint(text, words));
    format!("expected one of {list}, found {}{hint}", found(instance))
}

fn type_name(json: &str) -> &str {
    match json {
        "string" => "a text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "an array",
        "object" => "a table",
        other => other,
    }
}

fn found(value: &Value) -> String {
    match value {
        Value::String(text) => format!("'{}'", shown(text)),
        Value::Array(_) => "an array".into(),
        Value::Object(_) => "a table".into(),
        scalar => scalar.to_string(),
    }
}

/// Takes out a value that does not fit. Places in an array are kept, since later faults name them.
fn remove(document: &mut Value, at: &KeyPath) {
    let Some(parent) = at.parent() else {
        *document = Value::Object(serde_json::Map::new());
        return;
    };
    match (at.steps().last(), parent.get_mut(document)) {
        (Some(Step::Key(key)), Some(Value::Object(table))) => {
            // not `remove`: that would put the last key into its place
            table.shift_remove(key);
        }
        (Some(Step::Index(index)), Some(Value::Array(elements))) => {
            if ["supported_models", "groups"].iter().any(|key| parent == KeyPath::of(&[key])) {
                elements[*index] = Value::Object(serde_json::Map::new());
            } else {
                remove(document, &parent);
            }
        }
        _ => {}
    }
}
