//! Renames and drops during mariadb-backup's copy. The stream reports them, whether their files came or not.

use super::*;

#[test]
fn renamed_and_removed_names_are_free_again() {
    let stream = [file("a", b"1"), rename("a", b"b"), file("a", b"2"), file("c", b"3"), remove("c"), file("c", b"4")];
    let files = files_of(MARIADB, &stream.concat());
    assert_eq!((&files["a"][..], &files["b"][..], &files["c"][..]), (&b"2"[..], &b"1"[..], &b"4"[..]));
    let over = [file("t", b"old"), file("new", b"new"), remove("t"), rename("new", b"t")].concat();
    assert_eq!(files_of(MARIADB, &over), BTreeMap::from([("t".into(), b"new".to_vec())]));
}

/// The other table's copy is younger than the rename. The age of this one's is unknown.
#[test]
fn a_rename_to_an_existing_file_is_refused() {
    let stream = [file("d/t.MYD", b"young"), file("d/old.MYD", b"old"), rename("d/t.MYD", b"d/old.MYD")].concat();
    let why = refusal(MARIADB, &stream);
    assert!(why.contains("d/t.MYD is renamed to d/old.MYD, but both exist") && why.contains("another backup"), "{why}");
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
fn renames_of_and_onto_directories_are_refused() {
    let onto_its_own = [file("d/a", b"x"), rename("d/a", b"d")].concat();
    let onto_another = [file("d/a", b"x"), file("b", b"x"), rename("b", b"d")].concat();
    for stream in [onto_its_own, onto_another] {
        assert!(refusal(MARIADB, &stream).contains("but both exist"));
    }
    assert!(refusal(MARIADB, &[file("d/a", b"x"), rename("d", b"e")].concat()).contains("is not a file"));
}

#[test]
fn renames_and_removals_of_absent_files_are_ignored() {
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
fn a_renamed_file_must_come_under_one_of_its_names() {
    let renamed = rename("d/young.MAD", b"d/older.MAD");
    for lost in [renamed.clone(), [renamed.clone(), rename("d/older.MAD", b"d/oldest.MAD")].concat()] {
        let why = refusal(MARIADB, &lost);
        assert!(why.contains("lacks d/old") && why.contains("renamed during the backup"), "{why}");
    }
    for came in [
        [file("d/older.MAD", b"x"), renamed.clone()],
        [renamed.clone(), file("d/older.MAD", b"x")],
        [renamed.clone(), [file("a", b"x"), rename("a", b"d/older.MAD")].concat()],
        // Only the last name of a chain exists.
        [[file("d/older.MAD", b"x"), rename("d/e.MAD", b"d/f.MAD")].concat(), rename("d/f.MAD", b"d/older.MAD")],
        [[rename("d/e.MAD", b"d/f.MAD"), rename("d/f.MAD", b"d/older.MAD")].concat(), file("d/older.MAD", b"x")],
    ] {
        assert_eq!(files_of(MARIADB, &came.concat()), BTreeMap::from([("d/older.MAD".into(), b"x".to_vec())]));
    }
    let many = (0..2000).map(|number| rename("a", format!("{number}").as_bytes())).collect::<Vec<_>>().concat();
    assert!(refusal(MARIADB, &many).contains("more than 1024 files"));
}

/// A table with a definition exists after the last possible DDL.
#[test]
fn a_removed_definition_must_come_again() {
    let table = |data: &[u8]| [file("d/t.MYD", data), file("d/t.MYI", data), file("d/t.frm", data)].concat();
    let dropped = ["d/t.MYD", "d/t.MYI", "d/t.frm"].map(remove).concat();
    let view = [file("d/t.frm", b"TYPE=VIEW"), remove("d/t.MYD"), remove("d/t.MYI"), remove("d/t.frm")].concat();
    let database = [file("d/t.frm", b"x"), file("d/t.new", b"x"), remove("d"), file("d/db.opt", b"x")].concat();
    let twice = [table(b"x"), dropped.clone(), dropped.clone()].concat();
    let trigger = [table(b"x"), file("d/t.TRG", b"x"), remove("d"), table(b"x")].concat();
    assert!(refusal(MARIADB, &trigger).contains("lacks d/t.TRG"));
    for lost in [[table(b"x"), dropped.clone()].concat(), view, database, twice] {
        let why = refusal(MARIADB, &lost);
        assert!(why.contains("lacks d/t.frm, whose table was dropped and created again"), "{why}");
    }
    let again = [table(b"old"), dropped.clone(), table(b"new")].concat();
    assert!(files_of(MARIADB, &again).values().all(|data| data == b"new"));
    let many = (0..1100).map(|number| file(&format!("d/{number}.frm"), b"x")).collect::<Vec<_>>().concat();
    assert!(refusal(MARIADB, &[many, remove("d")].concat()).contains("more than 1024 files"));
}

/// The name belongs to another table in the end: its last definition shows that.
#[test]
fn data_that_are_renamed_from_a_name_in_use_must_come_again() {
    let data = |name: &str, data: &[u8]| file(&format!("d/{name}.MYD"), data);
    let defined =
        |names: &[&str]| names.iter().flat_map(|name| file(&format!("d/{name}.frm"), b"x")).collect::<Vec<_>>();
    let renamed = |from: &str, to: &str| rename(&format!("d/{from}.MYD"), format!("d/{to}.MYD").as_bytes());
    let other = "it may have another table's data for d/";

    // Rotated: it was copied before, and comes again; or that is unknown.
    let rotated = [data("t", b"old"), defined(&["t", "t_old"]), renamed("t", "t_old")].concat();
    assert!(refusal(MARIADB, &rotated).contains(other));
    let again = [rotated, payload_flagged(2, "d/t.MYD", 0, b"new"), end("d/t.MYD")].concat();
    let files = files_of(MARIADB, &again);
    assert_eq!((&files["d/t.MYD"][..], &files["d/t_old.MYD"][..]), (&b"new"[..], &b"old"[..]));

    // Rotated and dropped.
    let brief = [data("t", b"new"), defined(&["t"]), renamed("t", "brief"), remove("d/brief.MYD")].concat();
    assert!(refusal(MARIADB, &brief).contains(other));

    // Replaced by a table that was copied under its old name.
    let [old, new] = [data("t", b"old"), data("new", b"new")];
    let replaced = [old, new, defined(&["t", "t_old"]), renamed("t", "t_old"), renamed("new", "t")].concat();
    let files = files_of(MARIADB, &replaced);
    assert_eq!((&files["d/t.MYD"][..], &files["d/t_old.MYD"][..]), (&b"new"[..], &b"old"[..]));

    // Replaced by a table that was created again, copied and dropped.
    let made_again = [replaced, remove("d/new.MYD"), remove("d/new.frm")].concat();
    assert!(refusal(MARIADB, &made_again).contains("data for d/t.frm"));
    let [old, new] = [data("t", b"?"), data("new", b"?")];
    let dropped = [old, new, defined(&["t"]), remove("d/t.MYD"), remove("d/t.frm"), renamed("new", "t")].concat();
    let dropped = [dropped, payload_flagged(2, "d/t.frm", 0, b"x"), end("d/t.frm")].concat();
    assert_eq!(files_of(MARIADB, &dropped).len(), 2);
    for (again, says) in [
        (remove("d/new.MYD"), "data for d/t.frm"),
        ([renamed("new", "newer"), remove("d/newer.MYD")].concat(), "data for d/t.frm"),
        (renamed("new", "newer"), "lacks d/newer.MYD"),
        (remove("d"), "lacks d/t.frm"),
    ] {
        let why = refusal(MARIADB, &[dropped.clone(), again].concat());
        assert!(why.contains(says), "{says}: {why}");
    }

    // Away and back.
    let back = [data("t", b"x"), defined(&["t"]), renamed("t", "u"), renamed("u", "t")].concat();
    assert_eq!(files_of(MARIADB, &[&back[..], &renamed("t", "u"), &renamed("u", "t")].concat()).len(), 2);
    let between = [data("t", b"x"), defined(&["t"]), renamed("t", "u"), remove("d/t.MYD"), renamed("u", "t")].concat();
    assert!(refusal(MARIADB, &between).contains(other));

    // Its name belongs to InnoDB now. Another table had it only before.
    let innodbs = [data("t", b"old"), file("d/t.new", b"x"), defined(&["t", "u"]), renamed("t", "u")].concat();
    assert_eq!(files_of(MARIADB, &innodbs).len(), 4);
    let left_over = [file("d/t.ibd", b"x"), data("t", b"?"), defined(&["t"]), renamed("t", "u"), file("d/t.del", b"")];
    assert!(refusal(MARIADB, &left_over.concat()).contains(other));

    // Swapped: the stream is the same for a right and a wrong copy.
    let [a, b] = [data("a", b"1"), data("b", b"2")];
    let swapped = [a, b, defined(&["a", "b"]), renamed("a", "c"), renamed("b", "a"), renamed("c", "b")].concat();
    assert!(refusal(MARIADB, &swapped).contains(other));
    let again = ["d/a.MYD", "d/b.MYD"].map(|name| [payload_flagged(2, name, 0, b"3"), end(name)].concat()).concat();
    assert_eq!(files_of(MARIADB, &[swapped, again].concat()).len(), 4);
}

#[test]
fn removed_data_must_come_again_if_their_definition_stays() {
    let aria = [file("d/t.MAD", b"x"), file("d/t.MAI", b"x"), file("d/t.frm", b"x")].concat();
    let emptied = [aria, remove("d/t.MAD"), remove("d/t.MAI"), file("d/tt.MAD", b"x"), file("d/t.TRG", b"x")].concat();
    let why = refusal(MARIADB, &emptied);
    assert!(why.contains("lacks the data of d/t.frm, whose engine or partitions were changed"), "{why}");
    // Data of another engine may be older.
    for data in ["d/t.ibd", "d/t.new", "d/t#P#p0.ibd", "d/t.MYD"] {
        assert!(files_of(MARIADB, &[&file(data, b"x")[..], &emptied].concat()).contains_key(data));
    }
    for data in ["d/t.ibd", "d/t.new", "d/t#P#p0.ibd", "d/t.MYD", "d/t.MAD"] {
        assert!(files_of(MARIADB, &[&emptied[..], &file(data, b"x")].concat()).contains_key(data));
    }
    let partitions =
        [file("d/t#P#p0.MYD", b"x"), file("d/t.frm", b"x"), file("d/t.par", b"x"), remove("d/t#P#*")].concat();
    assert!(refusal(MARIADB, &partitions).contains("lacks the data of d/t.frm"));
    assert_eq!(files_of(MARIADB, &[partitions, file("d/t#P#p1.MYD", b"x")].concat()).len(), 3);
}

#[test]
fn a_file_copied_again_may_be_empty() {
    let copied = [file("d/t.MAD", b"old"), file("d/t.frm", b"x")].concat();
    assert_eq!(files_of(MARIADB, &[copied.clone(), end("d/t.MAD")].concat())["d/t.MAD"], b"");
    assert!(refusal(PERCONA, &[copied, end("d/t.MAD")].concat()).contains("comes twice"));
    assert!(refusal(MARIADB, &[file("d/t.MAD", b"old"), end("d/t.MAD")].concat()).contains("comes twice"));
    assert!(refusal(MARIADB, &[file("ibdata1", b"old"), end("ibdata1")].concat()).contains("comes twice"));
}

#[test]
fn a_database_is_removed_with_its_contents_and_may_come_again() {
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
fn a_pattern_removes_only_partitions() {
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
fn a_link_is_removed_without_its_target() {
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
fn removed_metadata_do_not_count() {
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

/// mariadb-backup encodes the names of other engines' tables twice in its log of changes.
#[test]
fn changes_of_names_that_are_encoded_twice_are_noticed() {
    let said = |name: &str| [file("d/a@002db.MAD", b"old"), file("d/a@002db.frm", b"x"), remove(name)].concat();
    let why = refusal(MARIADB, &said("d/a@0040002db.MAD"));
    assert!(why.contains("d/a@002db.MAD") && why.contains("another backup"), "{why}");
    // For a table with an `@` in its name, and for one that is gone.
    for name in ["d/a@0040b.MAD", "d/c@0040002dd.MAD"] {
        assert_eq!(files_of(MARIADB, &said(name)).len(), 2, "{name}");
    }
}
