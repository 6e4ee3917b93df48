//! Proves that both ends know the clone secret, by an HMAC over the whole handshake so far.

use anyhow::Result;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroize as _;

use super::frame::{self, Frame};
use super::preface::Versions;
use crate::sys::secret::Secret;

/// The proving side. A proof of one side is invalid for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Recipient,
    Donor,
}

impl Side {
    fn label(self) -> &'static [u8] {
        match self {
            Side::Recipient => b"mysqlset clone 1 recipient",
            Side::Donor => b"mysqlset clone 1 donor",
        }
    }
}

/// A digest of both prefaces and of all frames of a handshake, in order.
#[derive(Clone)]
pub struct Transcript(Sha256);

impl Transcript {
    /// Starts with the prefaces of both sides.
    pub fn begin(recipient: Versions, donor: Versions) -> Transcript {
        Transcript(Sha256::new().chain_update(recipient.bytes()).chain_update(donor.bytes()))
    }

    /// Adds a frame, header and body, as it went over the wire.
    pub fn add(&mut self, frame: &[u8]) {
        self.0.update(frame);
    }

    /// Adds a received frame.
    pub fn add_frame(&mut self, frame: &Frame) {
        self.add(&frame::header_bytes(frame.kind, frame.body.len()));
        self.add(&frame.body);
    }

    /// The proof that `side` sends.
    pub fn prove(&self, secret: &Secret, side: Side) -> String {
        hexadecimal(&self.mac(secret, side).finalize().into_bytes())
    }

    /// Whether the other side's proof is right. All wrong proofs take the same time.
    pub fn verify(&self, secret: &Secret, side: Side, proof: &str) -> bool {
        from_hexadecimal(proof).is_some_and(|proof| self.mac(secret, side).verify_slice(&proof).is_ok())
    }

    fn mac(&self, secret: &Secret, side: Side) -> Hmac<Sha256> {
        let mut mac = keyed(secret.reveal().as_bytes());
        mac.update(side.label());
        mac.update(&self.0.clone().finalize());
        mac
    }
}

/// The password of the account for MySQL's CLONE plugin. It follows from the clone secret, so both ends derive it
/// and the secret itself stays off the wire. MySQL sends the password to the donor's server inside TLS, with an
/// unverified certificate. Without a clone secret anyone may have a copy, and the password is public too. It has
/// a character of each kind, as password rules of servers may require.
pub fn password_of_plugin(secret: Option<&Secret>, set: &str) -> Secret {
    let mut mac = keyed(secret.map_or(&[][..], |secret| secret.reveal().as_bytes()));
    mac.update(b"mysqlset clone plugin 1");
    mac.update(set.as_bytes());
    let mut bytes = mac.finalize().into_bytes();
    let digits = Secret::new(hexadecimal(&bytes));
    bytes.as_mut_slice().zeroize();
    Secret::joined(&["Aa1!", digits.reveal()])
}

/// The proof in a link that is valid until `end`, in seconds of its sidecar ([`crate::observe::http`]).
pub fn link(key: &Secret, end: u64) -> String {
    hexadecimal(&mac_of_link(key, end).finalize().into_bytes())
}

/// Whether `proof` is that proof. All wrong proofs take the same time.
pub fn is_link(key: &Secret, end: u64, proof: &str) -> bool {
    from_hexadecimal(proof).is_some_and(|proof| mac_of_link(key, end).verify_slice(&proof).is_ok())
}

fn mac_of_link(key: &Secret, end: u64) -> Hmac<Sha256> {
    let mut mac = keyed(key.reveal().as_bytes());
    mac.update(b"mysqlset link 1");
    mac.update(&end.to_le_bytes());
    mac
}

/// A key longer than a block is hashed first (RFC 2104), as `new_from_slice` does. All lengths are accepted.
fn keyed(key: &[u8]) -> Hmac<Sha256> {
    <Hmac<Sha256> as Mac>::new_from_slice(key).unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"))
}

/// 32 random bytes in hexadecimal.
pub fn nonce() -> Result<String> {
    Ok(hexadecimal(&crate::sys::random::bytes::<32>()?))
}

/// Allocates the text once, because it may be a secret.
fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    text.extend(digits.filter_map(|digit| char::from_digit(digit.into(), 16)));
    text
}

fn from_hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || digits.len() > 128 {
        return None;
    }
    // Accepts lower case only, as we write it: a proof has exactly one spelling.
    let value = |digit: u8| (digit as char).to_digit(16).filter(|_| !digit.is_ascii_uppercase());
    digits.chunks_exact(2).map(|pair| Some((value(pair[0])? * 16 + value(pair[1])?) as u8)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::preface::{self, OWN};

    fn transcript(frames: &[&str]) -> Transcript {
        let mut transcript = Transcript::begin(OWN, OWN);
        frames.iter().for_each(|frame| transcript.add(frame.as_bytes()));
        transcript
    }

    #[test]
    fn a_proof_holds_for_one_secret_one_side_and_one_handshake() {
        let secret = Secret::new("geheim");
        let said = transcript(&["hello", "challenge"]);
        let proof = said.prove(&secret, Side::Recipient);
        assert!(said.verify(&secret, Side::Recipient, &proof));
        assert!(!said.verify(&secret, Side::Donor, &proof));
        assert!(!said.verify(&secret, Side::Recipient, &proof.to_uppercase()), "the same number in another spelling");
        assert!(!said.verify(&Secret::new("other"), Side::Recipient, &proof));
        assert!(!transcript(&["hello", "other challenge"]).verify(&secret, Side::Recipient, &proof));
        let lowered = preface::receive(&mut &b"MYSQLSET\x01\0\0\0"[..]).unwrap();
        for mut altered in [Transcript::begin(lowered, OWN), Transcript::begin(OWN, lowered)] {
            ["hello", "challenge"].iter().for_each(|frame| altered.add(frame.as_bytes()));
            assert!(!altered.verify(&secret, Side::Recipient, &proof));
        }
    }

    #[test]
    fn malformed_proofs_are_refused() {
        let said = transcript(&["hello"]);
        let long = "00".repeat(100_000);
        for proof in ["", "0", "zz", "é", &"0".repeat(64), long.as_str()] {
            assert!(!said.verify(&Secret::new("geheim"), Side::Recipient, proof));
        }
    }

    #[test]
    fn the_plugins_password_depends_on_the_secret_and_the_set() {
        let of = |secret: &str, set: &str| password_of_plugin(Some(&Secret::new(secret)), set);
        assert_eq!(of("geheim", "mysql"), of("geheim", "mysql"));
        assert_ne!(of("geheim", "mysql"), of("geheim", "other"));
        assert_ne!(of("geheim", "mysql"), of("other", "mysql"));
        assert_ne!(of("geheim", "mysql"), password_of_plugin(None, "mysql"));
    }

    #[test]
    fn nonces_differ() {
        assert_ne!(nonce().unwrap(), nonce().unwrap());
        assert_eq!(nonce().unwrap().len(), 64);
    }
}
