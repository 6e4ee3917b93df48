//! Volumes that live and die with a pod.

use serde::Deserialize;

use super::Ignored;

fn everybodys() -> u32 {
    0o644
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Volume {
    pub name: String,
    pub empty_dir: Option<EmptyDir>,
    pub config_map: Option<ConfigMapVolume>,
    pub secret: Option<SecretVolume>,
    pub image: Option<ImageVolume>,
}

/// In memory here. At its limit it is full, while kubelet would evict the pod.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct EmptyDir {
    pub size_limit: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ImageVolume {
    pub reference: String,
    /// Every image is present here.
    #[serde(rename = "pullPolicy")]
    _pull_policy: Ignored,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigMapVolume {
    pub name: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SecretVolume {
    pub secret_name: String,
    #[serde(default = "everybodys")]
    pub default_mode: u32,
    /// All keys if the list is empty.
    #[serde(default)]
    pub items: Vec<KeyToPath>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyToPath {
    pub key: String,
    pub path: String,
}

impl SecretVolume {
    /// The path of a key, if the volume has it.
    pub fn path_of(&self, key: &str) -> Option<String> {
        if self.items.is_empty() {
            return Some(key.to_owned());
        }
        self.items.iter().find(|item| item.key == key).map(|item| item.path.clone())
    }
}
