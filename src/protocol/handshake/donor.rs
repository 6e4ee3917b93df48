//! The donor's half: hears a hello, challenges the recipient, and proves its own answer.

use serde::Serialize;

use super::require;
use crate::protocol::auth::{Side, Transcript};
use crate::protocol::clone_secret::Keys;
use crate::protocol::frame::{Frame, Kind, WireError, encode};
use crate::protocol::message::{Challenge, Hello, Proof};
use crate::protocol::preface::{self, Versions};
use crate::sys::secret::Secret;

/// Both prefaces are exchanged. The hello comes next.
pub struct AwaitsHello {
    said: Transcript,
}

impl AwaitsHello {
    /// Begins after the recipient's preface. The caller has sent [`preface::OWN`]: if the versions fail to overlap, the
    /// recipient sees that from ours and gives up.
    pub fn after(theirs: Versions) -> Result<AwaitsHello, WireError> {
        theirs.common_version()?;
        Ok(AwaitsHello { said: Transcript::begin(theirs, preface::OWN) })
    }

    /// Takes the hello, which names the recipient and its abilities.
    pub fn hello(mut self, hello: &Frame) -> Result<(Hello, Unchallenged), WireError> {
        require(hello.kind, &[Kind::Hello])?;
        self.said.add_frame(hello);
        Ok((hello.parse()?, Unchallenged { said: self.said }))
    }
}

/// The recipient has said who it is. The donor challenges or refuses it.
pub struct Unchallenged {
    said: Transcript,
}

/// What a challenge leads to.
pub enum Step {
    /// There is no secret, so no proof is asked for. The caller decides what a recipient gets without one.
    Done(Said),
    /// The recipient's proof comes next.
    AwaitsProof(AwaitsProof),
}

impl Unchallenged {
    /// Returns the challenge to send. It asks for a proof if there are secrets.
    pub fn challenge(mut self, nonce: String, keys: Option<Keys>) -> Result<(Step, Vec<u8>), WireError> {
        let send = encode(Kind::Challenge, &Challenge { nonce, proof: keys.is_some() })?;
        self.said.add(&send);
        let step = match keys {
            None => Step::Done(Said { transcript: self.said, secret: None }),
            Some(keys) => Step::AwaitsProof(AwaitsProof { said: self.said, keys }),
        };
        Ok((step, send))
    }
}

/// The recipient's proof comes next.
pub struct AwaitsProof {
    said: Transcript,
    keys: Keys,
}

impl AwaitsProof {
    /// Finds the secret that the recipient proved. `None` if its proof is wrong.
    pub fn proof(mut self, proof: &Frame) -> Result<Option<Said>, WireError> {
        require(proof.kind, &[Kind::Proof])?;
        let Proof { hmac } = proof.parse()?;
        let proven = self.keys.all().find(|secret| self.said.verify(secret, Side::Recipient, &hmac)).cloned();
        self.said.add_frame(proof);
        Ok(proven.map(|secret| Said { transcript: self.said, secret: Some(secret) }))
    }
}

/// The transcript of a completed handshake, and the secret that the recipient proved, if one is set.
pub struct Said {
    transcript: Transcript,
    secret: Option<Secret>,
}

impl Said {
    /// Whether the recipient proved a secret.
    pub fn is_proven(&self) -> bool {
        self.secret.is_some()
    }

    /// Encodes the answer. If there is a secret, adds the donor's own proof.
    pub fn answer(mut self, kind: Kind, message: &impl Serialize) -> Result<Vec<u8>, WireError> {
        let mut bytes = encode(kind, message)?;
        self.transcript.add(&bytes);
        if let Some(secret) = &self.secret {
            let proof = Proof { hmac: self.transcript.prove(secret, Side::Donor) };
            bytes.extend(encode(Kind::Proof, &proof)?);
        }
        Ok(bytes)
    }
}

#[cfg(test)]
impl Said {
    /// The same conversation, by a donor with another secret.
    pub fn with_secret(self, text: &str) -> Said {
        Said { secret: Some(Secret::new(text)), ..self }
    }
}
