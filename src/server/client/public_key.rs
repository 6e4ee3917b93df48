//! A password for the server alone: encrypted with its RSA key, as `caching_sha2_password` and `sha256_password` take it
//! on a connection without TLS. The key is the server's word, and anything may be in it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use num_bigint::BigUint;
use sha1::{Digest, Sha1};
use zeroize::Zeroizing;

use super::error::{Error, Result};
use super::fields::Fields;
use crate::sys::random;

const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";

/// Bytes of a modulus. Servers make keys of 2048 bits.
const MODULUS: std::ops::RangeInclusive<usize> = 128..=1024;

/// Bytes of an exponent, which is 65537 in all of theirs.
const LONGEST_EXPONENT: usize = 4;

const HASH: usize = 20;

/// Tags of DER.
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

/// Encrypts with RSA and OAEP padding by SHA-1 (RFC 8017, 7.1.1).
pub fn encrypt(pem: &[u8], text: &[u8]) -> Result<Vec<u8>> {
    let (modulus, exponent) = parse(pem).ok_or(Error::Protocol("a public key that is none"))?;
    let length = modulus.len();
    let seed: [u8; HASH] = random::bytes().map_err(|error| std::io::Error::other(error.to_string()))?;
    let padded = pad(text, length, &seed).ok_or(Error::Protocol("a public key that is too short for the password"))?;
    let number = |bytes: &[u8]| BigUint::from_bytes_be(bytes);
    let cipher = number(&padded).modpow(&number(&exponent), &number(&modulus)).to_bytes_be();
    let mut encrypted = vec![0; length.saturating_sub(cipher.len())];
    encrypted.extend_from_slice(&cipher);
    Ok(encrypted)
}

/// Modulus and exponent, without leading zeros.
fn parse(pem: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let text = std::str::from_utf8(pem).ok()?;
    let (_, rest) = text.split_once(BEGIN)?;
    let (body, _) = rest.split_once(END)?;
    let body: String = body.chars().filter(|character| !character.is_ascii_whitespace()).collect();
    let der = STANDARD.decode(body).ok()?;
    let mut outer = Fields(element(&mut Fields(&der), SEQUENCE)?);
    // The algorithm: whatever else it were, the server could not decrypt what it gets.
    element(&mut outer, SEQUENCE)?;
    // The number of bits that the last byte has too many, then the key itself.
    let bits = element(&mut outer, BIT_STRING)?.strip_prefix(&[0])?;
    let mut key = Fields(element(&mut Fields(bits), SEQUENCE)?);
    let mut number = || Some(without_zeros(element(&mut key, INTEGER)?).to_vec());
    let (modulus, exponent) = (number()?, number()?);
    let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
    let fits = MODULUS.contains(&modulus.len()) && exponent.len() <= LONGEST_EXPONENT;
    (fits && is_odd(&modulus) && is_odd(&exponent)).then_some((modulus, exponent))
}

/// The content of the next element.
fn element<'a>(fields: &mut Fields<'a>, tag: u8) -> Option<&'a [u8]> {
    if fields.u8()? != tag {
        return None;
    }
    let length = match fields.u8()? {
        short @ 0..=0x7f => usize::from(short),
        0x81 => usize::from(fields.u8()?),
        0x82 => usize::from(fields.u8()?) << 8 | usize::from(fields.u8()?),
        _ => return None,
    };
    fields.take(length)
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let begin = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    &number[begin..]
}

/// OAEP with SHA-1 and no label; `None` where the text is too long.
fn pad(text: &[u8], length: usize, seed: &[u8; HASH]) -> Option<Zeroizing<Vec<u8>>> {
    let zeros = length.checked_sub(text.len() + 2 * HASH + 2)?;
    let mut data = Zeroizing::new([&Sha1::digest([])[..], &vec![0; zeros], &[1], text].concat());
    mask(&mut data, seed);
    let mut seed = *seed;
    mask(&mut seed, &data);
    Some([&[0], &seed[..], &data].concat().into())
}

/// Covers bytes with those that MGF1 makes of a seed.
fn mask(bytes: &mut [u8], seed: &[u8]) {
    for (number, piece) in (0_u32..).zip(bytes.chunks_mut(HASH)) {
        let hash = Sha1::new().chain_update(seed).chain_update(number.to_be_bytes()).finalize();
        piece.iter_mut().zip(hash).for_each(|(byte, mask)| *byte ^= mask);
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Made for this test.
    pub const KEY: &str = "\
         -----BEGIN PUBLIC KEY-----\n\
         MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDJmjD5mA0BEtlk/t/OF7Ps43go\n\
         ZHFpbARmJvxrGMknB017N3snaeaTQxHslnSjTqqTb8R7fecEl6uxjNPSdhH1tr1U\n\
         9NjWKF9LAOO3wex6QYrWOelPGl7PvZKgjaCwEZEAOU+hu44KuN2ustRrA2+LhcB3\n\
         +cQPrmdE7UZC4AXYEwIDAQAB\n\
         -----END PUBLIC KEY-----\n\
         ";

    const PRIVATE: &str = "71b1e3acdf7376078b52c9eaadeff028c8a01b278a4e49fcb11f8b7b5a9f16c3a78eb5db5e7efaea5208e9c47043293a49abdec3465de2d9269b1b30daa07bbf766638b00ee526cc523b2eb4b0e6bf3fabd6a8d0ca3840da75430d909291078103821ba58cee99d9e9094c2e346375e6429401dfad3f9a066ab2d5dd553b6c01";

    #[test]
    fn who_has_the_key_can_read_it() {
        let private = BigUint::parse_bytes(PRIVATE.as_bytes(), 16).unwrap();
        let (modulus, exponent) = parse(KEY.as_bytes()).unwrap();
        assert_eq!((modulus.len(), &exponent[..]), (128, &[1, 0, 1][..]));
        let encrypted = encrypt(KEY.as_bytes(), b"s3cret").unwrap();
        assert_eq!(encrypted.len(), 128);
        let number = |bytes: &[u8]| BigUint::from_bytes_be(bytes);
        let plain = number(&encrypted).modpow(&private, &number(&modulus)).to_bytes_be();
        let mut padded = vec![0; 128 - plain.len()];
        padded.extend_from_slice(&plain);
        let (mut seed, mut data) = (padded[1..=HASH].to_vec(), padded[HASH + 1..].to_vec());
        mask(&mut seed, &data);
        mask(&mut data, &seed);
        assert_eq!(data[..HASH], Sha1::digest([])[..]);
        assert!(data.ends_with(b"\0\x01s3cret"), "{data:?}");
    }

    #[test]
    fn a_key_that_is_none_is_refused() {
        let long = "x".repeat(128 - 2 * HASH - 1);
        assert!(encrypt(KEY.as_bytes(), long.as_bytes()).is_err());
        assert!(encrypt(KEY.as_bytes(), &long.as_bytes()[1..]).is_ok());
        for cut in 0..KEY.trim_end().len() {
            assert!(parse(&KEY.as_bytes()[..cut]).is_none(), "{cut}");
        }
        // Each byte changed in turn: whatever comes of it, it is no panic.
        for at in 0..KEY.len() {
            for byte in [0, b'A', b'/', 0xff] {
                let mut key = KEY.as_bytes().to_vec();
                key[at] = byte;
                let _ = encrypt(&key, b"s3cret");
            }
        }
    }
}
