//! The JSON Schemas (2020-12) of what a run, a search and a report of deliveries leave behind. They are derived from the types
//! that are written, with the comments of their fields, and kept as files, so that the program can print
//! them without the code that derives them.

/// Schema of `run.json`.
pub const RUN: &str = include_str!("schema/run.json");
/// Schema of `sweep.json`.
pub const SWEEP: &str = include_str!("schema/sweep.json");
/// Schema of what `ringpost report compare --json` prints.
pub const COMPARE: &str = include_str!("schema/compare.json");
/// Schema of `find-max.json`.
pub const FIND_MAX: &str = include_str!("schema/find-max.json");

/// Schema of what `report delivery --json` prints.
pub const DELIVERY: &str = include_str!("schema/delivery.json");

#[cfg(test)]
mod tests {
    use std::path::Path;

    use schemars::JsonSchema;
    use schemars::generate::SchemaSettings;
    use serde_json::{Value, json};

    use super::super::compared::{self, Compared};
    use super::super::curve::{self, CurveJson};
    use super::*;
    use crate::measure::{ErrorKind, Outcome, Phase};
    use crate::run::Run;
    use crate::run::delivery::DeliveryResult;

    /// Where it is set, the files are written anew.
    const WRITE: &str = "RINGPOST_WRITE_SCHEMA";

    fn derived<T: JsonSchema>(title: &str, version: u32, task: Option<&str>) -> Value {
        let settings = SchemaSettings::draft2020_12().for_serialize();
        let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
        schema["title"] = json!(title);
        schema["properties"]["schema"] = json!({ "const": version });
        if let Some(task) = task {
            schema["properties"]["task"] = json!({ "const": task });
        }
        join_lines(&mut schema);
        schema
    }

    fn of_run() -> Value {
        let version = crate::run::result::SCHEMA;
        let mut schema = derived::<Run>("run.json of ringpost-blast", version, None);
        let names = |names: Vec<&str>| json!({ "enum": names });
        let outcomes = [Outcome::Accepted].into_iter().chain(Outcome::APART).map(Outcome::name);
        let fields = &mut schema["properties"];
        fields["phases"]["propertyNames"] = names(Phase::ALL.map(Phase::name).to_vec());
        fields["errors"]["propertyNames"] = names(ErrorKind::ALL.map(ErrorKind::name).to_vec());
        schema["$defs"]["PhaseResult"]["properties"]["outcomes"]["propertyNames"] =
            names(outcomes.collect());
        schema
    }

    fn compared() -> Value {
        derived::<Compared>("ringpost report compare --json", compared::SCHEMA, None)
    }

    /// A comment's lines are broken for the source's sake.
    fn join_lines(schema: &mut Value) {
        match schema {
            Value::Object(members) => {
                if let Some(Value::String(text)) = members.get_mut("description") {
                    *text = text.replace('\n', " ");
                }
                members.values_mut().for_each(join_lines);
            }
            Value::Array(items) => items.iter_mut().for_each(join_lines),
            _ => {}
        }
    }

    #[test]
    fn the_files_are_what_the_types_say() {
        let told = |task: &str| {
            let title = format!("{task}.json of ringpost-blast");
            derived::<CurveJson<'_>>(&title, curve::SCHEMA, Some(task))
        };
        for (name, kept, derived) in [
            ("run", RUN, of_run()),
            ("sweep", SWEEP, told("sweep")),
            ("find-max", FIND_MAX, told("find-max")),
            ("compare", COMPARE, compared()),
            (
                "delivery",
                DELIVERY,
                derived::<DeliveryResult>(
                    "ringpost report delivery --json",
                    crate::run::delivery::SCHEMA,
                    None,
                ),
            ),
        ] {
            let text = serde_json::to_string_pretty(&derived).unwrap() + "\n";
            if std::env::var_os(WRITE).is_some() {
                let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/run/schema");
                std::fs::write(dir.join(name).with_extension("json"), &text).unwrap();
            } else {
                assert!(
                    kept == text,
                    "{name}.json is not what the types say; {WRITE}=1 cargo test --lib schema writes it"
                );
            }
        }
    }
}
