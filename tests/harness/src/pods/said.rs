//! The reports of a cluster's pods, by events.

use anyhow::{Context, Result};
use mysqlset::model::event::Event;

use super::{Cluster, PATIENCE};
use crate::logged::Said;

impl Cluster {
    /// The number of times that a container has logged an event, over all of its starts.
    pub fn times_logged(&self, pod: &str, container: &str, event: Event) -> usize {
        self.logs(pod, container).count_of(event)
    }

    /// Whether the container has logged it.
    pub fn has_logged(&self, pod: &str, container: &str, event: Event) -> bool {
        self.times_logged(pod, container, event) > 0
    }

    /// Waits until the container has logged the event.
    pub fn wait_for_event(&self, pod: &str, container: &str, event: Event) -> Result<()> {
        self.wait_for(&format!("{event} of {pod}'s {container}"), PATIENCE, || {
            Ok(self.has_logged(pod, container, event))
        })
    }

    /// Waits for the event with a text, such as a name or a number, that is part of its fields.
    pub fn wait_for_event_with(&self, pod: &str, container: &str, event: Event, text: &str) -> Result<()> {
        self.wait_for(&format!("{event} with {text:?} of {pod}'s {container}"), PATIENCE, || {
            Ok(self.logs(pod, container).has_with(event, text))
        })
    }

    /// Waits until more than this many clones have broken off.
    pub fn wait_for_broken_stream(&self, pod: &str, times: usize) -> Result<()> {
        self.wait_for(&format!("more than {times} broken streams to {pod}"), PATIENCE, || {
            Ok(self.logs(pod, "clone").broken_streams() > times)
        })
    }

    /// Whether a pod's sidecar reports that it is unready, with this event as the reason.
    pub fn is_unready_by(&self, pod: &str, event: Event) -> Result<bool> {
        let status: serde_json::Value = serde_json::from_str(&self.status_page(pod)?)?;
        Ok(status["not_ready"]["event"] == event.name())
    }

    /// The full report of a pod's sidecar, through the link that a command in the pod prints.
    pub fn status_page(&self, pod: &str) -> Result<String> {
        let output = self.exec(pod, "sidecar", &["/mysqlset/mysqlset", "link"])?;
        let link = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let path = link.strip_prefix("http://localhost:8307");
        let path = path.with_context(|| format!("no link: {link:?} {}", String::from_utf8_lossy(&output.stderr)))?;
        Ok(self.http_get(pod, 8307, path)?.1)
    }
}
