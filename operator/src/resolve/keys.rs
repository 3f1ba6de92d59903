//! The keys of an object, of which the contents are not read.
//!
//! The API server tells them with the metadata, in the list of who manages which field (kubernetes.io,
//! "Server-Side Apply").

use std::collections::BTreeSet;

use kube::api::ObjectMeta;

/// The keys of a ConfigMap's or Secret's data; none when they are not told: the list is kept for all fields
/// or, when somebody emptied it or the object is older than it, for no field.
pub(super) fn of(metadata: &ObjectMeta) -> Option<BTreeSet<&str>> {
    let managers = metadata.managed_fields.as_ref().filter(|managers| !managers.is_empty())?;
    let fields = managers.iter().filter_map(|manager| manager.fields_v1.as_ref());
    let data = fields.flat_map(|fields| DATA.map(|part| fields.0.get(part)));
    let keys = data.flatten().filter_map(|data| data.as_object()).flat_map(|data| data.keys());
    Some(keys.filter_map(|key| key.strip_prefix("f:")).collect())
}

/// What an apply of a Secret gave as text is said to be managed as such, though it is kept as the rest is.
const DATA: [&str; 3] = ["f:data", "f:binaryData", "f:stringData"];

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn keys(managed_fields: &Value) -> Option<String> {
        let metadata: ObjectMeta =
            serde_json::from_value(json!({"managedFields": managed_fields})).unwrap();
        of(&metadata).map(|keys| keys.into_iter().collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn are_those_that_somebody_manages() {
        let managers = json!([
            {"fieldsV1": {"f:data": {".": {}, "f:ca.crt": {}}, "f:metadata": {"f:labels": {}}}},
            {"fieldsV1": {"f:data": {"f:f:odd": {}}, "f:binaryData": {"f:ads.gz": {}}}},
            {"fieldsV1": {"f:stringData": {"f:tls.key": {}}}},
        ]);

        assert_eq!(keys(&managers).as_deref(), Some("ads.gz ca.crt f:odd tls.key"));
    }

    #[test]
    fn are_not_told_where_nobody_manages_anything() {
        let nothing = json!([{"fieldsV1": {"f:metadata": {"f:labels": {}}}}]);

        assert_eq!(keys(&nothing).as_deref(), Some(""), "it has none");
        assert_eq!(keys(&json!([])), None);
        assert_eq!(keys(&Value::Null), None);
    }
}
