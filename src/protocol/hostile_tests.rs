//! Messages of a malicious peer: they are refused, or their texts are cut to one short line.

use serde::de::DeserializeOwned;
use serde_json::{Value, from_str};

use super::frame::{self, CONTROL_LIMIT, Kind};
use super::message::{Challenge, Copied, End, Failed, Heartbeat, Hello, Offer, PluginOffer, Proof, Refusal, Report};

/// JSON that only a malicious peer writes, each up to the longest message. `\u{1}` marks the place of the
/// message's member.
fn nonsense() -> Vec<Vec<u8>> {
    let deep = |open: &str, close: &str| {
        let depth = CONTROL_LIMIT / (open.len() + close.len()) - 8;
        open.repeat(depth) + &close.repeat(depth)
    };
    let wide = |element: &str| format!("[{}]", vec![element; CONTROL_LIMIT / (element.len() + 1) - 8].join(","));
    let mut all: Vec<Vec<u8>> = [
        deep("[", "]"),
        "[".repeat(CONTROL_LIMIT),
        deep(r#"{"a":"#, "}"),
        wide("0"),
        wide("[]"),
        wide("{}"),
        wide(r#""""#),
        format!("{{{}}}", vec![r#""set":"a""#; 6000].join(",")),
        format!("\"{}\"", "x".repeat(CONTROL_LIMIT - 2)),
        format!("\"{}\"", "\\u0000".repeat(CONTROL_LIMIT / 6 - 2)),
        "9".repeat(CONTROL_LIMIT),
        "1e999999999".to_owned(),
        "-0".to_owned(),
        r#""\ud800""#.to_owned(),
        r#"{"set":"\udc00\ud800"}"#.to_owned(),
        "null".to_owned(),
        "true".to_owned(),
        "{}".to_owned(),
        "[]".to_owned(),
        "\u{feff}{}".to_owned(),
        "{} {}".to_owned(),
        "{\"\":".to_owned(),
        String::new(),
    ]
    .map(String::into_bytes)
    .to_vec();
    all.extend([b"{\"set\":\"\xff\xfe\"}".to_vec(), b"\xed\xa0\x80".to_vec(), vec![0; 100]]);
    all
}

/// Every error is one short line.
fn refuse<T: DeserializeOwned + std::fmt::Debug>(kind: Kind, json: &[u8]) {
    let shown = String::from_utf8_lossy(&json[..json.len().min(60)]).into_owned();
    match frame::parse::<T>(kind, json) {
        Ok(message) => panic!("{kind:?} from {shown}: {message:?}"),
        Err(error) => {
            let text = error.to_string();
            assert!(text.len() < 4200 && !text.contains(char::is_control), "{kind:?} from {shown}: {text:?}");
        }
    }
}

#[test]
fn invalid_messages_are_refused_with_a_short_error() {
    for json in nonsense() {
        refuse::<Hello>(Kind::Hello, &json);
        refuse::<Challenge>(Kind::Challenge, &json);
        refuse::<Proof>(Kind::Proof, &json);
        refuse::<Offer>(Kind::Offer, &json);
        refuse::<PluginOffer>(Kind::PluginOffer, &json);
        refuse::<Copied>(Kind::Copied, &json);
        refuse::<Report>(Kind::Report, &json);
        refuse::<Refusal>(Kind::Refusal, &json);
        refuse::<Heartbeat>(Kind::Heartbeat, &json);
        refuse::<End>(Kind::End, &json);
        refuse::<Failed>(Kind::Failed, &json);
    }
}

/// Members of a hello, each with an invalid value.
#[test]
fn members_of_a_hello_are_of_their_kind_and_come_once() {
    let whole = r#"{"set":"mysql","ordinal":1,"nonce":"00","formats":[]"#;
    assert!(from_str::<Hello>(&format!("{whole}}}")).is_ok());
    for member in [
        r#""set":"other""#,
        r#""ordinal":2"#,
        r#""wants":"clone","wants":"report""#,
        r#""free_bytes":18446744073709551616"#,
        r#""free_bytes":-1"#,
        r#""free_bytes":1e3"#,
        r#""free_bytes":"1""#,
        r#""page_size":1.5"#,
        r#""lower_case_table_names":256"#,
        r#""keyring":1"#,
        r#""packing":"zstd""#,
        r#""packing":[1]"#,
        r#""packing":{"0":"zstd"}"#,
        r#""set_id":"""#,
        r#""set_id":7"#,
        r#""set_id":"two words""#,
        r#""about":"0-1-2""#,
        r#""about":{"by":"magic"}"#,
        r#""about":{"by":"binlog-file","file":"x","offset":-1}"#,
        r#""about":{"by":"binlog-file","by":"mysql-gtid","file":"x","offset":4}"#,
        r#""history":["x"]"#,
        r#""wants":{"report":1}"#,
    ] {
        refuse::<Hello>(Kind::Hello, format!("{whole},{member}}}").as_bytes());
    }
    // Unknown members are ignored, however deep and long they are.
    let unknown = format!(r#"{whole},"later":{}{}}}"#, "[".repeat(20_000), "]".repeat(20_000));
    match frame::parse::<Hello>(Kind::Hello, unknown.as_bytes()) {
        Ok(hello) => assert_eq!(hello.set, "mysql"),
        Err(error) => assert!(error.to_string().contains("recursion limit"), "{error}"),
    }
}

/// Texts at any depth and under any name are shown as one line. So are errors about invalid messages.
#[test]
fn texts_of_messages_cannot_start_a_new_line() {
    const HOSTILE: &str = "x\nFORGED\r\u{1b}[2J\u{2028}\u{202e}\u{85}";
    fn texts_of(value: &mut Value, visit: &mut dyn FnMut(&mut Value)) {
        match value {
            Value::Object(members) => members.values_mut().for_each(|member| texts_of(member, visit)),
            Value::Array(elements) => elements.iter_mut().for_each(|element| texts_of(element, visit)),
            Value::String(_) => visit(value),
            _ => {}
        }
    }
    /// Makes each text hostile in turn, and shows each that is accepted.
    fn check<T: DeserializeOwned>(json: &str, kind: Kind, shown: impl Fn(&T) -> String) {
        let whole: Value = from_str(json).unwrap();
        let mut count = 0;
        texts_of(&mut whole.clone(), &mut |_| count += 1);
        for turn in 0..count {
            let (mut changed, mut at) = (whole.clone(), 0);
            texts_of(&mut changed, &mut |text| {
                if at == turn {
                    *text = HOSTILE.into();
                }
                at += 1;
            });
            let text = match frame::parse::<T>(kind, changed.to_string().as_bytes()) {
                Ok(message) => shown(&message),
                Err(error) => error.to_string(),
            };
            let lines = |character: char| character.is_control() || "\u{2028}\u{202e}".contains(character);
            assert!(!text.contains(lines), "{kind:?}, text {turn}: {text:?}");
        }
        assert!(count > 0);
    }
    let lineage = r#"{"id":"00","began_at":{"by":"mysql-gtid","executed":"x"},"replaces":"01"}"#;
    let of_lineage = |lineage: &Option<crate::model::identity::Lineage>| {
        lineage.as_ref().map(|lineage| format!("{} {}", lineage.id, lineage.began_at)).unwrap_or_default()
    };
    let id = |id: &Option<crate::model::identity::SetId>| id.as_ref().map(ToString::to_string).unwrap_or_default();
    check::<Hello>(
        r#"{"set":"x","ordinal":1,"nonce":"","formats":["x"],"set_id":"x","tool_series":"x",
        "plugin_server":"x","about":{"by":"mariadb-gtid","slave_pos":"x"},"wants":"report"}"#,
        Kind::Hello,
        |hello| {
            let about = hello.about.as_ref().map(ToString::to_string).unwrap_or_default();
            let series = hello.tool_series.clone().unwrap_or_default();
            [hello.pod(), hello.formats.concat(), id(&hello.set_id), series, about].concat()
        },
    );
    check::<Report>(
        &format!(
            r#"{{"pod":"x","ordinal":0,"set_id":"x","has_data":true,"server":"x","applied":{{"by":"binlog-file","file":"x",
            "offset":4}},"cannot_follow":"x","unknown_history":"x","applier_fault":"x","left_out":"x","lineage":{lineage}}}"#
        ),
        Kind::Report,
        |report| {
            let texts = [&report.server, &report.cannot_follow, &report.unknown_history, &report.applier_fault];
            let texts = texts.into_iter().flatten().cloned().collect::<String>();
            let applied = report.applied.as_ref().map(ToString::to_string).unwrap_or_default();
            [report.pod.clone(), id(&report.set_id), texts, applied, of_lineage(&report.lineage)].concat()
        },
    );
    check::<Offer>(
        &format!(
            r#"{{"pod":"x","ordinal":0,"format":"tar","digest":"heads","packing":"x","inventory":"x",
            "tool":"x","server":"x","set_id":"x","heartbeat_seconds":5,"lineage":{lineage}}}"#
        ),
        Kind::Offer,
        |offer| {
            let texts = [&offer.packing, &offer.inventory].into_iter().flatten().cloned().collect::<String>();
            [&offer.pod, &offer.tool, &offer.server, &id(&offer.set_id), &texts, &of_lineage(&offer.lineage)]
                .map(String::as_str)
                .concat()
        },
    );
    check::<PluginOffer>(
        r#"{"pod":"x","ordinal":0,"server_port":1,"user":"x","server":"x","by_gtid":true,"settings":{"x":"x"},
        "libraries":["x"],"heartbeat_seconds":5}"#,
        Kind::PluginOffer,
        |offer| {
            let settings: String = offer.settings.iter().flat_map(|(name, value)| [name.as_str(), value]).collect();
            [offer.pod.as_str(), &offer.user, &offer.server, &settings].concat()
        },
    );
    check::<Refusal>(r#"{"why":"busy","event":"x","text":"x"}"#, Kind::Refusal, |refusal| {
        [refusal.event.clone(), refusal.to_string()].concat()
    });
    check::<Failed>(r#"{"text":"x"}"#, Kind::Failed, |failed| failed.text.clone());
    check::<End>(
        r#"{"bytes":1,"digest":"x","tool_status":0,"position":"x","inventory":{"bytes":1,"digest":"x"}}"#,
        Kind::End,
        |end| {
            let inventory = end.inventory.as_ref().map(|inventory| inventory.digest.clone()).unwrap_or_default();
            [end.digest.clone(), end.position.clone().unwrap_or_default(), inventory].concat()
        },
    );
}

/// An unauthenticated peer may send hellos: 128 with 20,000 empty names each took a sidecar 72 MB.
#[test]
fn an_endless_list_of_names_takes_little_memory() {
    let many = vec![r#""""#; 20_000].join(",");
    let lists = ["formats", "digests", "packing", "inventory"].map(|name| format!(r#""{name}":["known",{many}]"#));
    for list in lists {
        let formats = if list.contains("formats") { "" } else { r#""formats":[],"# };
        let text = format!(r#"{{"set":"a","ordinal":1,"nonce":"",{formats}{list}}}"#);
        assert!(text.len() < frame::CONTROL_LIMIT);
        let hello: Hello = from_str(&text).unwrap();
        let all = [&hello.formats, &hello.digests, &hello.packing, &hello.inventory];
        assert_eq!(all.iter().filter_map(|list| list.first()).collect::<Vec<_>>(), ["known"]);
        assert!(all.iter().map(|list| list.capacity()).sum::<usize>() <= 64, "{}", hello.formats.capacity());
    }
    assert!(from_str::<Hello>(r#"{"set":"a","ordinal":1,"nonce":"","formats":"xbstream"}"#).is_err());
}
