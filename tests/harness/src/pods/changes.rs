//! A test's changes of manifests before they are applied. [`super::manifest`] has their form.

use std::collections::BTreeMap;

use super::manifest::{Container, EnvVar, Manifests};

impl Manifests {
    /// A container of the pod template, to be changed by a test.
    pub fn container(&mut self, name: &str) -> &mut Container {
        let spec = &mut self.stateful_set.spec.template.spec;
        let mut all = spec.init_containers.iter_mut().chain(&mut spec.containers);
        all.find(|container| container.name == name).unwrap_or_else(|| panic!("no container {name} in the manifest"))
    }

    /// The servers' configuration files, with their names.
    pub fn server_config(&mut self) -> &mut BTreeMap<String, String> {
        let mut maps = self.config_maps.iter_mut().map(|map| &mut map.data);
        maps.find(|files| files.keys().any(|name| name.ends_with(".cnf"))).expect("the servers' configuration")
    }

    /// The same without their names.
    pub fn server_files(&mut self) -> impl Iterator<Item = &mut String> {
        self.server_config().values_mut()
    }

    /// The scripts that the servers' image runs at a first start, with their names.
    pub fn first_start_scripts(&mut self) -> &mut BTreeMap<String, String> {
        let mut maps = self.config_maps.iter_mut();
        &mut maps.find(|map| map.metadata.name.starts_with("mysql-first-start")).expect("its scripts").data
    }

    /// Sets a variable of one container.
    pub fn set_env(&mut self, container: &str, name: &str, value: &str) {
        let env = &mut self.container(container).env;
        env.retain(|variable| variable.name != name);
        env.push(EnvVar { name: name.to_owned(), value: value.to_owned(), value_from: None });
    }

    /// Has `clone` or `sidecar` start with limits, as the shell's `ulimit` takes them.
    pub fn limit(&mut self, container: &str, limits: &[&str]) {
        let limits: String = limits.iter().map(|limit| format!("ulimit {limit} && ")).collect();
        let start = format!("{limits}exec /mysqlset/mysqlset {container}");
        self.container(container).command = Some(["sh", "-c", &start].map(str::to_owned).into());
    }

    /// Puts a script in a program's place for `clone` or `sidecar`.
    pub fn stand_in(&mut self, container: &str, program: &str, script: &str) {
        self.set_env(container, "STAND_IN", script);
        let start = format!(
            "mkdir /tmp/bin && printf %s \"$STAND_IN\" > /tmp/bin/{program} && chmod +x /tmp/bin/* && \
             PATH=/tmp/bin:$PATH exec /mysqlset/mysqlset {container}"
        );
        let container = self.container(container);
        container.command = Some(["sh", "-c", &start].map(str::to_owned).into());
        container.security_context.read_only_root_filesystem = false;
    }
}
