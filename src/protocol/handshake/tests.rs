use super::donor::{self, AwaitsHello, Said};
use super::recipient::{self, Unanswered};
use crate::model::event::Event;
use crate::protocol::clone_secret::{CloneSecret, Keys};
use crate::protocol::frame::{Frame, Kind, WireError};
use crate::protocol::message::{Failed, Hello, Refusal, Wants, Why};
use crate::protocol::preface::{self, OWN};

const SECRET: &str = "the secret of this set";
const OTHER: &str = "the secret of another set";

fn keys(lines: &str) -> Keys {
    CloneSecret::fixed(lines).now()
}

fn hello() -> Hello {
    Hello { set: "mysql".into(), ordinal: 1, nonce: "00".repeat(32), wants: Wants::Clone, ..Hello::default() }
}

/// Changes the recipient's messages on their way, and the donor's.
type Between<'a> = &'a dyn Fn(&mut Vec<u8>);

/// Runs both halves up to the donor's view of the proof; the recipient's state and the donor's.
fn greet(
    recipients: Option<&str>,
    donors: Option<&str>,
    between: Between<'_>,
) -> Result<(recipient::AwaitsAnswer, Option<Said>), Unanswered> {
    let (awaits_preface, mut first) = recipient::begin(&hello()).unwrap();
    between(&mut first);
    let (theirs, hello) = first.split_at(preface::LENGTH);
    let awaits_hello = AwaitsHello::after(preface::receive(&mut &theirs[..])?)?;
    let (_, unchallenged) = awaits_hello.hello(&Frame::read(&mut &hello[..])?)?;
    let (step, mut challenge) = unchallenged.challenge("11".repeat(32), donors.map(keys))?;
    let mut own = OWN.bytes().to_vec();
    between(&mut own);
    let awaits_challenge = awaits_preface.preface(preface::receive(&mut own.as_slice())?)?;
    between(&mut challenge);
    let own = recipients.map(keys);
    let challenge = Frame::read(&mut challenge.as_slice())?;
    let (awaits_answer, mut proof) = awaits_challenge.challenge(&challenge, own.as_ref().map(Keys::own))?;
    between(&mut proof);
    let said = match step {
        donor::Step::Done(said) => Some(said),
        donor::Step::AwaitsProof(awaits) => awaits.proof(&Frame::read(&mut proof.as_slice())?)?,
    };
    Ok((awaits_answer, said))
}

/// The recipient's end of a handshake whose answer is `message`.
fn converse(recipients: Option<&str>, donors: Option<&str>, between: Between<'_>) -> Result<Frame, Unanswered> {
    let (awaits_answer, said) = greet(recipients, donors, between)?;
    let said = said.ok_or(Unanswered::SecretNotProven)?;
    let mut answer = said.answer(Kind::Report, &Failed { text: "an answer".into() }).unwrap();
    between(&mut answer);
    hear(awaits_answer, &answer)
}

fn hear(awaits_answer: recipient::AwaitsAnswer, mut answer: &[u8]) -> Result<Frame, Unanswered> {
    match awaits_answer.answer(Frame::read(&mut answer)?, &[Kind::Report])? {
        recipient::Step::Done(frame) => Ok(frame),
        recipient::Step::AwaitsProof(awaits_proof) => awaits_proof.proof(Frame::read(&mut answer)),
    }
}

fn unchanged(_: &mut Vec<u8>) {}

#[test]
fn the_halves_agree_with_and_without_a_secret() {
    let during_a_change = format!("{OTHER}\n{SECRET}");
    for (recipients, donors) in [(None, None), (Some(SECRET), Some(SECRET)), (Some(SECRET), Some(&*during_a_change))] {
        let answer = converse(recipients, donors, &unchanged).unwrap();
        assert_eq!(answer.parse::<Failed>().unwrap().text, "an answer");
    }
    assert!(greet(Some(SECRET), Some(SECRET), &unchanged).unwrap().1.unwrap().is_proven());
    assert!(!greet(None, None, &unchanged).unwrap().1.unwrap().is_proven());
}

#[test]
fn secrets_that_differ_are_found_by_the_donor_and_missing_ones_by_the_recipient() {
    assert!(greet(Some(OTHER), Some(SECRET), &unchanged).unwrap().1.is_none());
    assert!(matches!(greet(None, Some(SECRET), &unchanged), Err(Unanswered::SecretMissing)));
    assert!(matches!(greet(Some(SECRET), None, &unchanged), Err(Unanswered::SecretNotAsked)));
}

/// A donor without the secret that lets every proof pass is found out by its own, over the same transcript.
#[test]
fn a_donor_must_prove_its_answer() {
    let (awaits_answer, said) = greet(Some(SECRET), Some(SECRET), &unchanged).unwrap();
    let strangers = said.unwrap().with_secret(OTHER);
    let answer = strangers.answer(Kind::Report, &Failed { text: "mine".into() }).unwrap();
    assert!(matches!(hear(awaits_answer, &answer), Err(Unanswered::SecretNotProven)));
}

#[test]
fn a_refusal_says_whether_it_is_proven() {
    let refusal = Refusal::new(Event::RefusedBusy, Why::Busy, "later");
    let told = |recipients, donors, cut| {
        let (awaits_answer, said) = greet(recipients, donors, &unchanged).unwrap();
        let mut answer = said.unwrap().answer(Kind::Refusal, &refusal).unwrap();
        answer.truncate(answer.len() - cut);
        match hear(awaits_answer, &answer) {
            Err(Unanswered::Refused { refusal, is_proven }) => (refusal.text, is_proven),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(told(Some(SECRET), Some(SECRET), 0), ("later".into(), true));
    // Cut off in its proof.
    assert_eq!(told(Some(SECRET), Some(SECRET), 1), ("later".into(), false));
    assert_eq!(told(None, None, 0), ("later".into(), false));
}

#[test]
fn a_message_in_a_wrong_place_ends_the_handshake() {
    let (awaits_answer, said) = greet(None, None, &unchanged).unwrap();
    let offer = said.unwrap().answer(Kind::Offer, &Failed { text: "x".into() }).unwrap();
    let Err(Unanswered::Broken(WireError::Malformed(why))) = hear(awaits_answer, &offer) else { panic!() };
    assert!(why.contains("a Offer message where a Report belongs"), "{why}");
}

/// A change of one bit of any message, in either direction, ends the handshake.
#[test]
fn a_flipped_bit_anywhere_ends_a_handshake_with_a_secret() {
    let said = std::cell::RefCell::new(Vec::new());
    converse(Some(SECRET), Some(SECRET), &|bytes| said.borrow_mut().push(bytes.clone())).unwrap();
    let said = said.into_inner();
    assert_eq!(said.len(), 5, "hello, preface, challenge, proof, answer");
    for (message, bytes) in said.iter().enumerate() {
        for at in 0..8 * bytes.len() {
            let turn = std::cell::Cell::new(0);
            let flip = |bytes: &mut Vec<u8>| {
                if turn.replace(turn.get() + 1) == message {
                    bytes[at / 8] ^= 1 << (at % 8);
                }
            };
            let ended = converse(Some(SECRET), Some(SECRET), &flip);
            assert!(ended.is_err(), "message {message}, bit {at}");
        }
    }
}
