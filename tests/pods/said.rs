//! What the pods of a cluster say of themselves, by events.

use anyhow::{Context, Result};
use mysqlset::model::event::Event;

use super::logged::Said;
use super::{Cluster, PATIENCE};

impl Cluster {
    /// How often a container has logged an event, in all of its starts.
    pub fn times_logged(&self, pod: &str, container: &str, event: Event) -> usize {
        self.logs(pod, container).count_of(event)
    }

    /// Whether it has at all.
    pub fn has_logged(&self, pod: &str, container: &str, event: Event) -> bool {
        self.times_logged(pod, container, event) > 0
    }

    /// Waits until it has.
    pub fn wait_for_event(&self, pod: &str, container: &str, event: Event) -> Result<()> {
        self.wait_for(&format!("{event} of {pod}'s {container}"), PATIENCE, || {
            Ok(self.has_logged(pod, container, event))
        })
    }

    /// Waits until it has with a text that is no prose of ours, such as a name or a number.
    pub fn wait_for_event_with(&self, pod: &str, container: &str, event: Event, text: &str) -> Result<()> {
        self.wait_for(&format!("{event} with {text:?} of {pod}'s {container}"), PATIENCE, || {
            Ok(self.logs(pod, container).has_with(event, text))
        })
    }

    /// Waits until a clone has broken off, more often than so many times.
    pub fn wait_for_broken_stream(&self, pod: &str, times: usize) -> Result<()> {
        self.wait_for(&format!("more than {times} broken streams to {pod}"), PATIENCE, || {
            Ok(self.logs(pod, "clone").broken_streams() > times)
        })
    }

    /// Whether a pod's sidecar says that it is not ready, and names this as the reason.
    pub fn is_unready_by(&self, pod: &str, event: Event) -> Result<bool> {
        let status: serde_json::Value = serde_json::from_str(&self.status_page(pod)?)?;
        Ok(status["not_ready"]["event"] == event.name())
    }

    /// All that a pod's sidecar knows, by a link that a command in the pod prints.
    pub fn status_page(&self, pod: &str) -> Result<String> {
        let output = self.exec(pod, "sidecar", &["/mysqlset/mysqlset", "link"])?;
        let link = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let path = link.strip_prefix("http://localhost:8307");
        let path = path.with_context(|| format!("no link: {link:?} {}", String::from_utf8_lossy(&output.stderr)))?;
        Ok(self.http_get(pod, 8307, path)?.1)
    }
}
