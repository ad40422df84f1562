//! The documents of a NoCloud volume as cloud-init reads them: meta-data, network-config and the cloud-config.

mod network;
mod user_data;

pub(crate) use network::{CLUSTER_NIC, network_config};
pub(crate) use user_data::{authorized_keys, cloud_config, early_config};

use mvpnet_switch::Rank;
use saphyr::{MarkedYaml, Scalar, YamlData};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::{SeedError, yaml};

/// The meta-data: what the user's own say, and who this guest is. `instance` is another one for every content of
/// the volume.
pub(crate) fn meta_data(own: Option<&str>, instance: &str, rank: Rank) -> Result<String, SeedError> {
    let document = match own.map(yaml::parse) {
        Some(Ok(document)) => document,
        // Checked when they were read.
        Some(Err((line, what))) => return Err(SeedError(format!("meta-data, line {line}: {what}"))),
        None => None,
    };
    let own = document.as_ref().and_then(|document| document.data.as_mapping());
    let own_entries =
        own.into_iter().flatten().map(|(key, value)| (key.data.as_str().unwrap_or_default(), value));
    let mut entries: Vec<(String, Entry<'_>)> = Vec::new();
    let mut instance = instance.to_owned();
    let mut host_name = Some(rank.host_name());
    for (key, value) in own_entries {
        match key {
            // Theirs is often a constant, and cloud-init leaves alone a guest whose instance it knows.
            "instance-id" => instance = format!("{}-{instance}", plain(value)),
            "local-hostname" => {
                host_name = None;
                entries.push((key.to_owned(), Entry::Own(value)));
            }
            _ => entries.push((key.to_owned(), Entry::Own(value))),
        }
    }
    let mut all = vec![("instance-id".to_owned(), Entry::Ours(instance))];
    all.extend(host_name.map(|name| ("local-hostname".to_owned(), Entry::Ours(name))));
    all.append(&mut entries);
    yaml::text_of(&MetaData(all))
}

struct MetaData<'a>(Vec<(String, Entry<'a>)>);

enum Entry<'a> {
    Ours(String),
    Own(&'a MarkedYaml<'a>),
}

impl Serialize for MetaData<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, entry) in &self.0 {
            match entry {
                Entry::Ours(value) => map.serialize_entry(key, value)?,
                Entry::Own(value) => map.serialize_entry(key, &yaml::Written(value))?,
            }
        }
        map.end()
    }
}

/// A scalar as the word that it is.
fn plain(node: &MarkedYaml<'_>) -> String {
    match &node.data {
        YamlData::Value(Scalar::String(text)) => text.to_string(),
        YamlData::Value(Scalar::Integer(number)) => number.to_string(),
        YamlData::Value(Scalar::FloatingPoint(number)) => number.to_string(),
        YamlData::Value(Scalar::Boolean(value)) => value.to_string(),
        _ => "own".to_owned(),
    }
}
