//! The pods that wait for a clone of this one, and those that lost a slot for being slow.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Over so long a recipient is judged, and so long ago others may have been told that the donor is busy.
pub const WINDOW: Duration = Duration::from_secs(30);

/// So long after it lost its turn nobody loses one for a recipient: two that are slow would take it from each other for ever.
const PENANCE: Duration = Duration::from_secs(6 * 3600);

/// Pods that are remembered of each kind.
const MOST: usize = 256;

/// Who was told of late that another clone is being served, and who lost a turn, by pod.
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
