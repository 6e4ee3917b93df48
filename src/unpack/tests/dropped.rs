//! What a server renamed and dropped while mariadb-backup copied it, which the stream says whether it came or not.

use super::*;

#[test]
fn renamed_and_removed_names_are_free_again() {
    let stream = [file("a", b"1"), rename("a", b"b"), file("a", b"2"), file("c", b"3"), remove("c"), file("c", b"4")];
    let files = files_of(MARIADB, &stream.concat());
    assert_eq!((&files["a"][..], &files["b"][..], &files["c"][..]), (&b"2"[..], &b"1"[..], &b"4"[..]));
    let over = [file("t", b"old"), file("new", b"new"), rename("new", b"t")].concat();
    assert_eq!(files_of(MARIADB, &over), BTreeMap::from([("t".into(), b"new".to_vec())]));
}

#[test]
fn only_finished_files_are_renamed_or_removed() {
    let open = payload("d/a#P#p0.MYD", 0, b"x");
    for name in ["d/a#P#p0.MYD", "d", "d/a#P#*"] {
        assert!(refusal(MARIADB, &[open.clone(), remove(name)].concat()).contains("before its end"), "{name}");
    }
    assert!(refusal(MARIADB, &[open, rename("d/a#P#p0.MYD", b"b")].concat()).contains("before its end"));
    let onto_open = [file("a", b"x"), payload("b", 0, b"x"), rename("a", b"b")].concat();
    assert!(refusal(MARIADB, &onto_open).contains("before its end"));
}

#[test]
fn directories_are_not_renamed_nor_renamed_over() {
    let onto_its_own = [file("d/a", b"x"), rename("d/a", b"d")].concat();
    let onto_another = [file("d/a", b"x"), file("b", b"x"), rename("b", b"d")].concat();
    for stream in [onto_its_own, onto_another] {
        assert!(refusal(MARIADB, &stream).contains("which is a directory"));
    }
    assert!(refusal(MARIADB, &[file("d/a", b"x"), rename("d", b"e")].concat()).contains("is no file"));
}

#[test]
fn what_never_came_is_neither_renamed_nor_removed() {
    let kept = BTreeMap::from([("d/kept".into(), b"x".to_vec())]);
    for chunk in [
        remove("d/a.MAD"),
        remove("d/t#P#*"),
        remove("e"),
        remove("e/a.MAD"),
        remove("e/t#P#*"),
        rename("d/a.MAD", b"d/kept"),
        rename("e/a.MAD", b"d/kept"),
        rename("d/a.ARM", b"d/b.ARM"),
        [rename("d/a.MAD", b"d/b.MAD"), remove("d/b.MAD")].concat(),
        [rename("d/a.MAD", b"e/a.MAD"), remove("e")].concat(),
        [rename("d/a.MYD", b"d/b.MYD"), rename("d/b.MYD", b"d/c.MYD"), remove("d/c.MYD")].concat(),
    ] {
        let (outer, result) = unpacked(MARIADB, &[file("d/kept", b"x"), chunk].concat()[..]);
        result.unwrap();
        let stage = outer.path().join("stage");
        assert_eq!(tree(&stage), kept);
        assert!(!stage.join("e").exists());
    }
}

#[test]
fn what_is_renamed_and_comes_by_neither_name_is_missed() {
    let renamed = rename("d/young.MAD", b"d/older.MAD");
    for lost in [renamed.clone(), [renamed.clone(), rename("d/older.MAD", b"d/oldest.MAD")].concat()] {
        let why = refusal(MARIADB, &lost);
        assert!(why.contains("lacks d/old") && why.contains("renamed while the backup was taken"), "{why}");
    }
    for came in [
        [file("d/older.MAD", b"x"), renamed.clone()],
        [renamed.clone(), file("d/older.MAD", b"x")],
        [renamed, [file("a", b"x"), rename("a", b"d/older.MAD")].concat()],
    ] {
        assert_eq!(files_of(MARIADB, &came.concat()), BTreeMap::from([("d/older.MAD".into(), b"x".to_vec())]));
    }
    let many = (0..1000).map(|number| rename("a", format!("{number}").as_bytes())).collect::<Vec<_>>().concat();
    assert!(refusal(MARIADB, &many).contains("more than 256 files"));
}

#[test]
fn a_database_goes_with_all_that_is_in_it_and_may_come_again() {
    let many = (0..300).map(|number| file(&format!("gone/{number}"), b"x"));
    let below = [file("gone/below/deeper/a", b"x"), file("gone2/a", b"x"), file("a", b"x")];
    let stream = many.chain(below).chain([remove("gone")]).collect::<Vec<_>>().concat();
    let (outer, result) = unpacked(MARIADB, &stream[..]);
    result.unwrap();
    let stage = outer.path().join("stage");
    assert_eq!(tree(&stage).into_keys().collect::<Vec<_>>(), ["a", "gone2/a"]);
    assert!(!stage.join("gone").exists());
    let again = [&stream, &file("gone/db.opt", b"new")[..]].concat();
    assert_eq!(files_of(MARIADB, &again)["gone/db.opt"], b"new");
}

#[test]
fn partitions_go_by_a_pattern_and_nothing_else_does() {
    let names = ["d/t#P#p0.MYD", "d/t#P#p1.MYI", "d/t.par", "d/t#p#x", "d/tt#P#p0.MYD", "e/t#P#p0.MYD", "t#P#p0.MYD"];
    let all = names.map(|name| file(name, b"x")).concat();
    let left = |pattern| files_of(MARIADB, &[&all, &remove(pattern)[..]].concat()).into_keys().collect::<Vec<_>>();
    let mut expected = names[2..].to_vec();
    expected.sort_unstable();
    assert_eq!(left("d/t#P#*"), expected);
    for no_pattern in ["d/t*", "d/*", "*", "d/t#P#*x"] {
        assert_eq!(left(no_pattern).len(), names.len(), "{no_pattern}");
    }
}

#[test]
fn a_link_is_removed_and_not_what_it_leads_to() {
    let outer = tempfile::tempdir().unwrap();
    let [stage, kept] = ["stage", "kept"].map(|name| outer.path().join(name));
    for directory in [&stage, &kept, &stage.join("d")] {
        std::fs::create_dir(directory).unwrap();
    }
    std::fs::write(kept.join("file"), "x").unwrap();
    std::os::unix::fs::symlink(&kept, stage.join("d/link")).unwrap();
    unpack(MARIADB, &remove("d")[..], &stage).unwrap();
    assert!(kept.join("file").exists() && !stage.join("d").exists());
    std::os::unix::fs::symlink(&kept, stage.join("link")).unwrap();
    let through_a_link = unpack(MARIADB, &remove("link/file")[..], &stage).unwrap_err();
    assert!(through_a_link.to_string().contains("is a file or a link"), "{through_a_link}");
    assert!(kept.join("file").exists());
}

#[test]
fn metadata_that_is_gone_shows_nothing() {
    let [checkpoints, info] = ["xtrabackup_checkpoints", "xtrabackup_info"];
    let whole = [file(checkpoints, b"x"), file(info, b"x")].concat();
    let is_shown = |more: Vec<u8>| {
        let (_outer, result) = unpacked(MARIADB, &[&whole[..], &more].concat()[..]);
        result.unwrap().require_backup_metadata().is_ok()
    };
    assert!(is_shown(Vec::new()));
    assert!(!is_shown(remove(info)));
    assert!(!is_shown(rename(checkpoints, b"x")));
    assert!(is_shown([remove(info), file(info, b"x")].concat()));
}
