//! What a report answers to the questions in a hello: yes, no and why, or that it is unknown.

use super::message::Report;

/// On the wire an empty text is a yes, any other text the reason of a no, and an absent one is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    Yes,
    /// And why.
    No(&'a str),
    Unknown,
}

impl<'a> Verdict<'a> {
    fn of(answer: Option<&'a str>) -> Verdict<'a> {
        match answer {
            Some("") => Verdict::Yes,
            Some(why) => Verdict::No(why),
            None => Verdict::Unknown,
        }
    }
}

impl Report {
    /// Whether replication can start from the position in question.
    pub fn can_be_followed(&self) -> Verdict<'_> {
        Verdict::of(self.cannot_follow.as_deref())
    }

    /// Whether the peer has every transaction of the history in question; a no has those that it lacks.
    pub fn has_history(&self) -> Verdict<'_> {
        Verdict::of(self.unknown_history.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_answer_is_no_yes() {
        assert_eq!(Verdict::of(None), Verdict::Unknown);
        assert_eq!(Verdict::of(Some("")), Verdict::Yes);
        assert_eq!(Verdict::of(Some("it was purged")), Verdict::No("it was purged"));
    }
}
