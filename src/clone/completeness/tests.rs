//! Incomplete copies with one fault each, and complete copies.

use super::*;

fn path(text: &str) -> MemberPath {
    MemberPath::new(text.as_bytes()).unwrap()
}

fn tablespace(id: u32, name: &str, renamed_to: Option<&str>, definition: Definition) -> Entry {
    Entry { path: path(name), kind: Kind::Tablespace { id, renamed_to: renamed_to.map(path), definition } }
}

const FRM: Definition = Definition::Untouched { length: 900 };

/// A table, a partition, an auxiliary table of a full-text index, a renamed table, a table whose definition was
/// written, the system's files, and another engine's table.
fn inventory() -> Inventory {
    let entries = vec![
        tablespace(1, "app/t.ibd", None, FRM),
        tablespace(2, "app/p#P#p0.ibd", None, FRM),
        tablespace(3, "app/FTS_1_CONFIG.ibd", None, Definition::Unknown),
        tablespace(4, "app/old.ibd", Some("app/new.ibd"), Definition::Changed),
        tablespace(5, "app/altered.ibd", None, Definition::Changed),
        Entry { path: path("data/ibdata1"), kind: Kind::System },
        Entry { path: path("ibdata2"), kind: Kind::System },
        Entry { path: path("undo001"), kind: Kind::Undo },
        Entry { path: path("undo002"), kind: Kind::Undo },
        Entry { path: path("app/p.par"), kind: Kind::File { length: Some(36) } },
        Entry { path: path("app/a.frm"), kind: Kind::File { length: Some(700) } },
        Entry { path: path("app/a.MAD"), kind: Kind::File { length: None } },
    ];
    Inventory { keeps_definitions: true, entries }
}

/// For each file name: the length, and for a tablespace its id and pages.
type Files = BTreeMap<&'static str, (u64, Option<(u32, u32)>)>;

fn files() -> Files {
    let page = 16384;
    [
        ("app/t.ibd", (4 * page, Some((1, 4)))),
        ("app/t.frm", (900, None)),
        ("app/p#P#p0.ibd", (4 * page, Some((2, 4)))),
        ("app/p.frm", (900, None)),
        ("app/p.par", (36, None)),
        ("app/FTS_1_CONFIG.ibd", (4 * page, Some((3, 4)))),
        ("app/new.ibd", (4 * page, Some((4, 4)))),
        ("app/new.frm", (901, None)),
        ("app/altered.ibd", (4 * page, Some((5, 4)))),
        ("app/altered.frm", (555, None)),
        // At the top, although the donor keeps it in a directory.
        ("ibdata1", (100 * page, Some((0, 164)))),
        ("ibdata2", (64 * page, None)),
        ("undo001", (10 * page, Some((1000, 10)))),
        ("undo002", (10 * page, Some((1001, 10)))),
        ("app/a.frm", (700, None)),
        ("app/a.MAD", (8192, None)),
    ]
    .into()
}

fn verdict(files: &Files) -> Verdict {
    compared(files, &inventory())
}

fn compared(files: &Files, inventory: &Inventory) -> Verdict {
    copy(files).compare(inventory)
}

fn copy(files: &Files) -> PreparedFiles {
    let lengths = files.iter().map(|(name, (length, _))| (path(name), *length)).collect();
    let pages = files.iter().filter_map(|(name, (_, page))| {
        let (id, pages) = (*page)?;
        Some((path(name), Ok(FirstPage { id, pages, page_size: 16384 })))
    });
    PreparedFiles::with(lengths, pages.collect())
}

/// The verdict on a copy with one change.
fn said(change: impl FnOnce(&mut Files)) -> String {
    let mut files = files();
    change(&mut files);
    match verdict(&files) {
        Verdict::Whole => "nothing".to_owned(),
        Verdict::Lacking { first, count } => format!("{count}: {first}"),
    }
}

/// The verdict on a copy that lacks a file.
fn without(name: &str) -> String {
    said(|files| {
        files.remove(name);
    })
}

#[test]
fn a_complete_copy_passes() {
    assert_eq!(verdict(&files()), Verdict::Whole);
}

/// Every file except the definition of the full-text index's auxiliary table, which has none.
#[test]
fn each_missing_file_is_found() {
    for name in files().keys().copied() {
        assert_ne!(without(name), "nothing", "{name}");
    }
    assert_eq!(without("app/t.ibd"), "1: app/t.ibd is missing");
    assert_eq!(without("app/t.frm"), "1: app/t.frm is missing");
    assert_eq!(without("app/p.par"), "1: app/p.par is missing");
}

#[test]
fn the_first_fault_is_named_and_all_are_counted() {
    let verdict = verdict(&Files::new());
    let text = verdict.to_string();
    assert!(text.ends_with("before and after it: app/t.ibd is missing; and 10 more"), "{text}");
}

#[test]
fn swapped_tablespaces_are_found() {
    let said = said(|files| {
        let (t, p) = (files["app/t.ibd"], files["app/p#P#p0.ibd"]);
        files.extend([("app/t.ibd", p), ("app/p#P#p0.ibd", t)]);
    });
    assert_eq!(said, "2: app/t.ibd lies at app/p#P#p0.ibd");
}

#[test]
fn another_tables_pages_are_found() {
    let said = said(|files| files.get_mut("app/t.ibd").unwrap().1 = Some((77, 4)));
    assert_eq!(said, "1: app/t.ibd has the tablespace id 77 instead of 1");
}

#[test]
fn a_cut_tablespace_is_found_and_a_longer_one_passes() {
    let cut = said(|files| files.get_mut("app/t.ibd").unwrap().0 -= 1);
    assert_eq!(cut, "1: app/t.ibd has 65535 bytes of 65536");
    assert_eq!(said(|files| files.get_mut("app/t.ibd").unwrap().0 += 16384), "nothing");
}

#[test]
fn a_cut_system_or_undo_tablespace_is_found() {
    let cut = said(|files| files.get_mut("ibdata2").unwrap().0 -= 16384);
    assert_eq!(cut, "1: ibdata1 has 2670592 bytes of 2686976");
    let cut = said(|files| files.get_mut("undo001").unwrap().0 = 16384);
    assert_eq!(cut, "1: undo001 has 16384 bytes of 163840");
}

#[test]
fn another_tablespace_instead_of_the_systems_is_found() {
    let said = said(|files| files.get_mut("ibdata1").unwrap().1 = Some((9, 164)));
    assert_eq!(said, "1: ibdata1 has the tablespace id 9 instead of 0");
}

/// A truncation gives it a new id.
#[test]
fn an_undo_tablespace_may_have_any_unique_id() {
    let with = |id: u32| said(|files| files.get_mut("undo001").unwrap().1 = Some((id, 10)));
    assert_eq!(with(4_294_967_152), "nothing");
    assert_eq!(with(0), "1: undo001 has the tablespace id 0 of the system tablespace");
    assert_eq!(with(2), "1: undo001 has the tablespace id 2 of app/p#P#p0.ibd");
    assert_eq!(with(1001), "2: undo001 has the tablespace id 1001 of undo002");
}

#[test]
fn a_cut_definition_is_found() {
    assert_eq!(said(|files| files.get_mut("app/t.frm").unwrap().0 = 100), "1: app/t.frm has 100 bytes instead of 900");
    assert_eq!(said(|files| files.get_mut("app/p.par").unwrap().0 = 0), "1: app/p.par has 0 bytes instead of 36");
    let emptied = said(|files| files.get_mut("app/altered.frm").unwrap().0 = 0);
    assert_eq!(emptied, "1: app/altered.ibd exists, but the definition of its table (.frm) is missing");
}

#[test]
fn a_renamed_table_may_have_either_name() {
    let by_the_old_name = said(|files| {
        for (new, old) in [("app/new.ibd", "app/old.ibd"), ("app/new.frm", "app/old.frm")] {
            let file = files.remove(new).unwrap();
            files.insert(old, file);
        }
    });
    assert_eq!(by_the_old_name, "nothing");
}

/// Renamed and renamed back, with the copy made in between.
#[test]
fn a_third_name_needs_the_tables_definition() {
    let third = |definition: bool| {
        said(|files| {
            let file = files.remove("app/altered.ibd").unwrap();
            files.insert("app/between.ibd", file);
            let frm = files.remove("app/altered.frm").unwrap();
            if definition {
                files.insert("app/between.frm", frm);
            }
        })
    };
    assert_eq!(third(true), "nothing");
    assert_eq!(third(false), "1: app/altered.ibd lies at app/between.ibd");
    // This table was never renamed.
    let moved = said(|files| {
        let file = files.remove("app/t.ibd").unwrap();
        files.extend([("app/u.ibd", file), ("app/u.frm", (900, None))]);
    });
    assert_eq!(moved, "1: app/t.ibd lies at app/u.ibd");
}

/// Such a server finds tablespaces by their ids.
#[test]
fn a_server_with_a_dictionary_accepts_a_third_name() {
    let entries = vec![
        tablespace(1, "app/t.ibd", None, Definition::Unknown),
        tablespace(2, "app/u.ibd", None, Definition::Unknown),
    ];
    let inventory = Inventory { keeps_definitions: false, entries };
    let copy = |t, u| compared(&[(t, (65536, Some((1, 4)))), (u, (65536, Some((2, 4))))].into(), &inventory);
    assert_eq!(copy("app/between.ibd", "app/u.ibd"), Verdict::Whole);
    assert!(matches!(copy("app/u.ibd", "app/t.ibd"), Verdict::Lacking { count: 2, .. }));
}

/// Prepare leaves the older file under its older name.
#[test]
fn a_left_over_with_the_same_id_is_harmless() {
    let said = said(|files| {
        files.insert("app/gone.ibd", (16384, Some((1, 4))));
    });
    assert_eq!(said, "nothing");
}

fn first_page(id: u32, pages: u32) -> [u8; 64] {
    let mut bytes = [0; 64];
    for (at, value) in [(34, id), (38, id), (46, pages), (54, 0x15)] {
        bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }
    bytes
}

#[test]
fn a_copys_files_are_read_from_disk() {
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("app")).unwrap();
    let write = |name: &str, page: &[u8], length: u64| {
        let file = File::create(copy.path().join(name)).unwrap();
        file.write_all_at(page, 0).unwrap();
        file.set_len(length).unwrap();
    };
    write("ibdata1", &first_page(0, 2), 32768);
    write("undo001", &first_page(9, 2), 32768);
    for number in 0..50 {
        write(&format!("app/t{number}.ibd"), &first_page(10 + number, 2), 32768);
    }
    let mut entries: Vec<Entry> = (0..50)
        .map(|number| tablespace(10 + number, &format!("app/t{number}.ibd"), None, Definition::Unknown))
        .collect();
    entries.push(Entry { path: path("ibdata1"), kind: Kind::System });
    entries.push(Entry { path: path("undo001"), kind: Kind::Undo });
    let inventory = Inventory { keeps_definitions: false, entries };
    let look = || PreparedFiles::of(copy.path(), &inventory).unwrap().compare(&inventory);
    assert_eq!(look(), Verdict::Whole);
    for (page, length, says) in [
        (&first_page(17, 2)[..], 16384, "app/t7.ibd has 16384 bytes of 32768"),
        (&[0; 64], 32768, "app/t7.ibd is no tablespace: its first page is empty"),
        (b"", 10, "app/t7.ibd is no tablespace: it is too short for a page"),
    ] {
        write("app/t7.ibd", page, length);
        assert_eq!(look(), Verdict::Lacking { first: says.to_owned(), count: 1 });
    }
}

#[test]
fn a_view_instead_of_a_tables_definition_is_a_fault() {
    for (view, fault) in [
        ("app/t.frm", Some("app/t.frm defines a view, but app/t.ibd holds a table's rows")),
        ("app/a.frm", Some("app/a.frm defines a view, but app/a.MAD holds a table's rows")),
        ("app/new.frm", Some("app/new.frm defines a view, but app/new.ibd holds a table's rows")),
        // A view of its own, beside the donor's tables.
        ("app/v.frm", None),
    ] {
        let mut copy = copy(&files());
        copy.views.insert(path(view));
        let expected = fault.map_or(Verdict::Whole, |fault| Verdict::Lacking { first: fault.to_owned(), count: 1 });
        assert_eq!(copy.compare(&inventory()), expected, "{view}");
    }
}

#[test]
fn views_are_recognised_by_the_beginning_of_their_definitions() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("app")).unwrap();
    for (name, text) in [("v", "TYPE=VIEW\nquery=select"), ("t", "\u{fe}\u{1}\u{9}"), ("short", "TYPE")] {
        std::fs::write(directory.path().join(format!("app/{name}.frm")), text).unwrap();
    }
    let copy = PreparedFiles::of(directory.path(), &inventory()).unwrap();
    assert_eq!(copy.views, [path("app/v.frm")].into());
}
