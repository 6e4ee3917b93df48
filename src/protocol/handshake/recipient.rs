//! The recipient's half: sends a hello, proves the secret, and verifies the donor's proof of its answer.

use super::require;
use crate::protocol::auth::{Side, Transcript};
use crate::protocol::frame::{Frame, Kind, WireError, encode};
use crate::protocol::message::{Challenge, Hello, Proof, Refusal};
use crate::protocol::preface::{self, Versions};
use crate::sys::secret::Secret;

/// Why a handshake brought no answer.
#[derive(Debug)]
pub enum Unanswered {
    /// The donor broke the protocol or the connection.
    Broken(WireError),
    /// The donor refused.
    Refused {
        refusal: Refusal,
        /// Whether it proved the secret. Always false if there is none.
        is_proven: bool,
    },
    /// The donor asks for a secret, and there is none here.
    SecretMissing,
    /// There is a secret here, and the donor does not ask for it.
    SecretNotAsked,
    /// The donor's proof is wrong.
    SecretNotProven,
}

impl From<WireError> for Unanswered {
    fn from(error: WireError) -> Unanswered {
        Unanswered::Broken(error)
    }
}

/// The hello is sent. The donor's preface comes next.
pub struct AwaitsPreface {
    hello: Vec<u8>,
}

/// Begins, and returns the first bytes to send.
pub fn begin(hello: &Hello) -> Result<(AwaitsPreface, Vec<u8>), WireError> {
    let hello = encode(Kind::Hello, hello)?;
    let first = [&preface::OWN.bytes()[..], &hello].concat();
    Ok((AwaitsPreface { hello }, first))
}

impl AwaitsPreface {
    /// Takes the donor's versions. They must overlap with ours.
    pub fn preface(self, theirs: Versions) -> Result<AwaitsChallenge, WireError> {
        theirs.common_version()?;
        let mut said = Transcript::begin(preface::OWN, theirs);
        said.add(&self.hello);
        Ok(AwaitsChallenge { said })
    }
}

/// The donor's challenge comes next.
pub struct AwaitsChallenge {
    said: Transcript,
}

impl AwaitsChallenge {
    /// Returns the proof to send. It is empty if neither side has a secret.
    pub fn challenge(
        mut self,
        challenge: &Frame,
        secret: Option<&Secret>,
    ) -> Result<(AwaitsAnswer, Vec<u8>), Unanswered> {
        self.said.add_frame(challenge);
        if let Some(refusal) = refusal_in(challenge)? {
            return Err(Unanswered::Refused { refusal, is_proven: false });
        }
        require(challenge.kind, &[Kind::Challenge])?;
        let Challenge { proof, .. } = challenge.parse()?;
        let mut send = Vec::new();
        match (secret, proof) {
            (Some(secret), true) => {
                send = encode(Kind::Proof, &Proof { hmac: self.said.prove(secret, Side::Recipient) })?;
                self.said.add(&send);
            }
            (None, true) => return Err(Unanswered::SecretMissing),
            (Some(_), false) => return Err(Unanswered::SecretNotAsked),
            (None, false) => {}
        }
        Ok((AwaitsAnswer { said: self.said, secret: secret.cloned() }, send))
    }
}

/// The donor's answer comes next.
pub struct AwaitsAnswer {
    said: Transcript,
    secret: Option<Secret>,
}

/// What an answer leads to.
pub enum Step {
    /// There is no secret, so the answer is all.
    Done(Frame),
    /// The donor's proof comes next.
    AwaitsProof(AwaitsProof),
}

impl AwaitsAnswer {
    /// Accepts an answer of one of these kinds.
    pub fn answer(mut self, answer: Frame, kinds: &[Kind]) -> Result<Step, Unanswered> {
        self.said.add_frame(&answer);
        let refusal = refusal_in(&answer)?;
        let Some(secret) = self.secret else {
            if let Some(refusal) = refusal {
                return Err(Unanswered::Refused { refusal, is_proven: false });
            }
            require(answer.kind, kinds)?;
            return Ok(Step::Done(answer));
        };
        let answer = match refusal {
            Some(refusal) => Err(refusal),
            None => require(answer.kind, kinds).map(|()| Ok(answer))?,
        };
        Ok(Step::AwaitsProof(AwaitsProof { said: self.said, secret, answer }))
    }
}

/// The donor's proof of its answer comes next.
pub struct AwaitsProof {
    said: Transcript,
    secret: Secret,
    answer: Result<Frame, Refusal>,
}

impl AwaitsProof {
    /// Returns the answer if its proof is right.
    ///
    /// A stranger's refusal is followed by an end or by garbage. The refusal is still reported.
    pub fn proof(self, proof: Result<Frame, WireError>) -> Result<Frame, Unanswered> {
        match (self.verify(proof), self.answer) {
            (verified, Err(refusal)) => Err(Unanswered::Refused { refusal, is_proven: verified.unwrap_or(false) }),
            (Ok(true), Ok(answer)) => Ok(answer),
            (Ok(false), Ok(_)) => Err(Unanswered::SecretNotProven),
            (Err(why), Ok(_)) => Err(why),
        }
    }

    fn verify(&self, proof: Result<Frame, WireError>) -> Result<bool, Unanswered> {
        let proof = proof?;
        if let Some(refusal) = refusal_in(&proof)? {
            return Err(Unanswered::Refused { refusal, is_proven: false });
        }
        require(proof.kind, &[Kind::Proof])?;
        let Proof { hmac } = proof.parse()?;
        Ok(self.said.verify(&self.secret, Side::Donor, &hmac))
    }
}

fn refusal_in(frame: &Frame) -> Result<Option<Refusal>, WireError> {
    (frame.kind == Kind::Refusal).then(|| frame.parse()).transpose()
}
