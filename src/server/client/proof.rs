//! Proves a password, by the authentication plugins that servers request.
//!
//! | plugin | servers | sent |
//! |---|---|---|
//! | `mysql_native_password` | all before MySQL 9.0 | SHA-1 values that need the password's |
//! | `caching_sha2_password` | MySQL from 8.0 | SHA-2 values; where the server has none cached, the password itself: in clear text on its socket, else encrypted with the server's key |
//! | `sha256_password` | MySQL from 5.6 | the password itself, in the same ways |
//! | `ed25519` | MariaDB from 10.1.22 | a signature of the nonce |
//!
//! The plugins for the socket (`unix_socket`, `auth_socket`) need no proof: the kernel tells the server which user
//! connects. A password in clear text is never sent over TCP.

use curve25519_dalek::scalar::clamp_integer;
use curve25519_dalek::{EdwardsPoint, Scalar};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use zeroize::{Zeroize, Zeroizing};

use super::error::{Error, Result};
use super::fields::Fields;
use super::public_key;

/// The bytes of a nonce.
pub const NONCE: usize = 20;

/// The bytes of an ed25519 nonce.
const LONG_NONCE: usize = 32;

/// Asks for the server's key.
const WANT_KEY_CACHING: u8 = 2;
const WANT_KEY: u8 = 1;

/// Answers of `caching_sha2_password`: it has the password cached, or needs the whole password.
const KNOWN: u8 = 3;
const WANTS_PASSWORD: u8 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr)]
#[strum(const_into_str)]
pub enum Plugin {
    #[strum(serialize = "mysql_native_password")]
    Native,
    #[strum(serialize = "caching_sha2_password")]
    CachingSha2,
    #[strum(serialize = "sha256_password")]
    Sha256,
    #[strum(serialize = "client_ed25519")]
    Ed25519,
}

/// The next step of a proof.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    Answer(Zeroizing<Vec<u8>>),
    Wait,
}

pub struct Prover<'a> {
    plugin: Plugin,
    nonce: Vec<u8>,
    password: &'a str,
    /// The connection is safe from eavesdroppers.
    is_private: bool,
    /// The next packet is the server's key.
    wants_key: bool,
}

impl<'a> Prover<'a> {
    pub fn new(plugin: Plugin, nonce: Vec<u8>, password: &'a str, is_private: bool) -> Prover<'a> {
        Prover { plugin, nonce, password, is_private, wants_key: false }
    }

    /// The proof in the first response, before any request.
    pub fn first(&mut self) -> Result<Zeroizing<Vec<u8>>> {
        match self.plugin {
            // A greeting's nonce is too short for this plugin.
            Plugin::Ed25519 if self.nonce.len() != LONG_NONCE => Ok(Zeroizing::default()),
            _ => self.proof(),
        }
    }

    /// Answers a request for another plugin.
    pub fn switch(&mut self, request: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        if request.is_empty() {
            return Err(Error::UnknownPlugin("mysql_old_password".to_owned()));
        }
        let mut fields = Fields(request);
        let name = String::from_utf8_lossy(fields.text()).into_owned();
        self.plugin = name.parse().map_err(|_| Error::UnknownPlugin(name))?;
        let length = if self.plugin == Plugin::Ed25519 { LONG_NONCE } else { NONCE };
        self.nonce = fields.take(length).ok_or(Error::Protocol("a short nonce"))?.to_vec();
        self.wants_key = false;
        self.proof()
    }

    /// Answers further data of the plugin.
    pub fn more(&mut self, data: &[u8]) -> Result<Step> {
        if self.wants_key {
            self.wants_key = false;
            let mut covered = self.whole_password();
            covered.iter_mut().zip(self.nonce.iter().cycle()).for_each(|(byte, cover)| *byte ^= cover);
            return public_key::encrypt(data, &covered).map(|encrypted| Step::Answer(encrypted.into()));
        }
        match (self.plugin, data) {
            (Plugin::CachingSha2, [KNOWN]) => Ok(Step::Wait),
            (Plugin::CachingSha2, [WANTS_PASSWORD]) => Ok(Step::Answer(self.password_or_want_key(WANT_KEY_CACHING))),
            _ => Err(Error::Protocol("a plugin asks for more than it may")),
        }
    }

    fn proof(&mut self) -> Result<Zeroizing<Vec<u8>>> {
        let password = self.password.as_bytes();
        Ok(Zeroizing::new(match self.plugin {
            Plugin::Ed25519 => signature(password, &self.nonce).to_vec(),
            // An empty password is an empty proof, except for this plugin, which expects an empty text.
            Plugin::Sha256 if password.is_empty() => vec![0],
            _ if password.is_empty() => Vec::new(),
            Plugin::Native => by_sha1(password, &self.nonce),
            Plugin::CachingSha2 => by_sha256(password, &self.nonce),
            Plugin::Sha256 => return Ok(self.password_or_want_key(WANT_KEY)),
        }))
    }

    fn password_or_want_key(&mut self, want_key: u8) -> Zeroizing<Vec<u8>> {
        self.wants_key = !self.is_private;
        if self.is_private { self.whole_password() } else { vec![want_key].into() }
    }

    fn whole_password(&self) -> Zeroizing<Vec<u8>> {
        [self.password.as_bytes(), &[0]].concat().into()
    }
}

fn xor(left: &[u8], right: &[u8]) -> Vec<u8> {
    left.iter().zip(right).map(|(left, right)| left ^ right).collect()
}

/// SHA1(password) XOR SHA1(nonce, SHA1(SHA1(password)))
fn by_sha1(password: &[u8], nonce: &[u8]) -> Vec<u8> {
    let mut once = Sha1::digest(password);
    let twice = Sha1::digest(once);
    let proof = xor(&once, &Sha1::new().chain_update(nonce).chain_update(twice).finalize());
    once.as_mut_slice().zeroize();
    proof
}

/// SHA256(password) XOR SHA256(SHA256(SHA256(password)), nonce)
fn by_sha256(password: &[u8], nonce: &[u8]) -> Vec<u8> {
    let mut once = Sha256::digest(password);
    let twice = Sha256::digest(once);
    let proof = xor(&once, &Sha256::new().chain_update(twice).chain_update(nonce).finalize());
    once.as_mut_slice().zeroize();
    proof
}

/// A signature by RFC 8032, with the password of any length as the private key.
fn signature(password: &[u8], nonce: &[u8]) -> [u8; 64] {
    let scalar_of = |hash: Sha512| Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
    let mut digest = Sha512::digest(password);
    let (mut bytes, prefix) = (Zeroizing::new([0; 32]), &digest[32..]);
    bytes.copy_from_slice(&digest[..32]);
    let secret = Zeroizing::new(Scalar::from_bytes_mod_order(clamp_integer(*bytes)));
    let public = EdwardsPoint::mul_base(&secret).compress();
    let once = Zeroizing::new(scalar_of(Sha512::new().chain_update(prefix).chain_update(nonce)));
    digest.as_mut_slice().zeroize();
    let point = EdwardsPoint::mul_base(&once).compress();
    let challenge = scalar_of(Sha512::new().chain_update(point.0).chain_update(public.0).chain_update(nonce));
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&point.0);
    signature[32..].copy_from_slice((*once + challenge * *secret).as_bytes());
    signature
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD_NO_PAD;
    use curve25519_dalek::edwards::CompressedEdwardsY;

    use super::*;

    const NONCE: &[u8] = b"NR3HP:qIYa_9=db?Sd{`";

    #[test]
    fn proofs_equal_those_of_other_clients() {
        assert_eq!(
            by_sha1(b"G!ider27", NONCE),
            [
                0x09, 0xcf, 0xf8, 0x85, 0x5e, 0x9e, 0x70, 0x53, 0x40, 0xff, 0x22, 0x70, 0xd8, 0xfb, 0x9f, 0xad, 0xba,
                0x90, 0x6b, 0x70,
            ]
        );
        assert_eq!(
            by_sha256(b"G!ider27", NONCE),
            [
                0x4f, 0x97, 0xbb, 0xfd, 0x20, 0x24, 0x01, 0xc4, 0x2a, 0x69, 0xde, 0xaa, 0xe5, 0x3b, 0xda, 0x07, 0x7e,
                0xd7, 0x57, 0x85, 0x63, 0xc1, 0xa8, 0x0e, 0xb8, 0x16, 0xc8, 0x21, 0x19, 0xb6, 0x8d, 0x2e,
            ]
        );
    }

    /// By the public key that MariaDB keeps: `SELECT ed25519_password('secret')`.
    #[test]
    fn a_signature_matches_the_public_key_that_mariadb_keeps() {
        let kept = STANDARD_NO_PAD.decode("ZIgUREUg5PVgQ6LskhXmO+eZLS0nC8be6HPjYWR4YJY").unwrap();
        let point = |bytes: &[u8]| CompressedEdwardsY::from_slice(bytes).unwrap().decompress().unwrap();
        let nonce = [7; LONG_NONCE];
        let signature = signature(b"secret", &nonce);
        let (r, s) = signature.split_at(32);
        let s = Scalar::from_bytes_mod_order(s.try_into().unwrap());
        let challenge = Sha512::new().chain_update(r).chain_update(&kept).chain_update(nonce).finalize();
        let challenge = Scalar::from_bytes_mod_order_wide(&challenge.into());
        assert_eq!(EdwardsPoint::mul_base(&s), point(r) + challenge * point(&kept));
    }

    #[test]
    fn a_password_in_clear_text_is_sent_on_a_socket_only() {
        for (plugin, want_key) in [("caching_sha2_password", WANT_KEY_CACHING), ("sha256_password", WANT_KEY)] {
            let request = [plugin.as_bytes(), b"\0", NONCE, b"\0"].concat();
            let ask = |is_private| {
                let mut prover = Prover::new(Plugin::Native, NONCE.to_vec(), "s3cret", is_private);
                let first = prover.switch(&request).unwrap();
                match plugin {
                    "sha256_password" => first,
                    _ => match prover.more(&[WANTS_PASSWORD]).unwrap() {
                        Step::Answer(answer) => answer,
                        Step::Wait => panic!("{plugin} waits"),
                    },
                }
            };
            assert_eq!(ask(true)[..], b"s3cret\0"[..]);
            assert_eq!(ask(false)[..], [want_key]);
        }
        let mut prover = Prover::new(Plugin::Native, NONCE.to_vec(), "s3cret", true);
        assert!(matches!(prover.switch(b"mysql_clear_password\0"), Err(Error::UnknownPlugin(_))));
    }
}
