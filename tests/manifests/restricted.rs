//! The permissions of a container.

use anyhow::Result;
use harness::pods::kustomize;
use serde_yaml_ng::Value;

use super::{objects, read};

/// The pod security standard "restricted", and a read-only root.
#[test]
fn every_container_has_least_privileges() -> Result<()> {
    let mut looked_at = 0;
    for overlay in kustomize::names("overlays")? {
        for document in objects(&overlay)?.into_iter().chain(read(&kustomize::build(&overlay, &[])?)?) {
            if document["kind"] == "StatefulSet" {
                assert_restricted(&document["spec"]["template"]["spec"], &overlay);
                looked_at += 1;
            }
        }
    }
    // Alone, and with all components, where the sidecar is an init container.
    assert_eq!(looked_at, 2 * kustomize::names("overlays")?.len());
    Ok(())
}

fn assert_restricted(spec: &Value, overlay: &str) {
    let pod = &spec["securityContext"];
    assert_eq!(pod["runAsNonRoot"], true, "{overlay}");
    assert_eq!(pod["seccompProfile"]["type"], "RuntimeDefault", "{overlay}");
    assert_eq!(pod["fsGroupChangePolicy"], "OnRootMismatch", "{overlay}");
    assert_eq!(spec["automountServiceAccountToken"], false, "{overlay}");
    let list = |name: &str| spec[name].as_sequence().cloned().unwrap_or_default();
    for volume in list("volumes") {
        let harmless = ["emptyDir", "configMap", "secret", "image"];
        assert!(harmless.iter().any(|kind| volume.get(kind).is_some()), "{overlay}: {volume:?}");
    }
    let containers = [list("initContainers"), list("containers")].concat();
    assert_eq!(containers.len(), 4, "{overlay}");
    for container in containers {
        let name = format!("{overlay}: {:?}", container["name"]);
        let own = &container["securityContext"];
        assert_eq!(own["allowPrivilegeEscalation"], false, "{name}");
        assert_eq!(own["readOnlyRootFilesystem"], true, "{name}");
        assert_eq!(own["capabilities"]["drop"][0], "ALL", "{name}");
        assert!(own["capabilities"].get("add").is_none() && own.get("privileged").is_none(), "{name}");
        assert!(own.get("runAsUser").is_none() && own.get("seccompProfile").is_none(), "{name}");
        for asked in [&container["resources"]["requests"]["cpu"], &container["resources"]["requests"]["memory"]] {
            assert!(asked.is_string(), "{name}: {asked:?}");
        }
        assert!(container["resources"]["limits"]["memory"].is_string(), "{name}");
    }
}
