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

/// Of memory in the harness, and full at its limit, where kubelet evicts the pod.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct EmptyDir {
    pub size_limit: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ImageVolume {
    pub reference: String,
    /// They are all there.
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
    /// All keys where there are none.
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
    /// Where a key lies, where it is there.
    pub fn path_of(&self, key: &str) -> Option<String> {
        if self.items.is_empty() {
            return Some(key.to_owned());
        }
        self.items.iter().find(|item| item.key == key).map(|item| item.path.clone())
    }
}
