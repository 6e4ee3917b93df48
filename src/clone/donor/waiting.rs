//! The pods that wait for a clone from this one, and those that lost a slot for being slow.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time over which a recipient is judged. Also how long a recipient that was told "busy" counts as waiting.
pub const WINDOW: Duration = Duration::from_secs(30);

/// How long a recipient that lost its slot cannot make others lose theirs. Otherwise two slow ones would take it from
/// each other for ever.
const PENANCE: Duration = Duration::from_secs(6 * 3600);

/// Pods remembered of each kind.
const MOST: usize = 256;

/// Pods that were recently told "busy", and pods that lost a slot.
#[derive(Default)]
pub struct Waiting(Mutex<Pods>);

#[derive(Default)]
struct Pods {
    waiting: HashMap<String, Instant>,
    slow: HashMap<String, Instant>,
}

impl Waiting {
    pub fn note(&self, pod: &str) {
        let mut pods = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        remember(&mut pods.waiting, pod, WINDOW);
    }

    pub fn is_somebody(&self) -> bool {
        let mut pods = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Pods { waiting, slow } = &mut *pods;
        slow.retain(|_, at| at.elapsed() < PENANCE);
        waiting.retain(|_, at| at.elapsed() < WINDOW);
        waiting.keys().any(|pod| !slow.contains_key(pod))
    }

    pub fn lost(&self, pod: &str) {
        let mut pods = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        remember(&mut pods.slow, pod, PENANCE);
    }
}

fn remember(pods: &mut HashMap<String, Instant>, pod: &str, time: Duration) {
    pods.retain(|_, at| at.elapsed() < time);
    if pods.len() < MOST {
        pods.insert(pod.to_owned(), Instant::now());
    }
}
