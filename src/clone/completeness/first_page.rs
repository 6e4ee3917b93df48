//! The first page of a tablespace's file: whose it is, and how many pages it should have.
//!
//! ```text
//!  offset  4   its number, 0
//!         34   the tablespace's id, in the header of each page
//!         38   the same, in the tablespace's own header
//!         46   how many pages the tablespace has (FSP_SIZE)
//!         54   flags, from which the page size follows
//! ```
//!
//! It is neither encrypted nor compressed, whatever the other pages are. Its type is not looked at: servers of long ago left
//! that unset. All integers are big-endian. (MySQL source, fsp0types.h and fil0types.h; MariaDB source, fsp0types.h; seen with MariaDB
//! 10.11 and 11.8, MySQL 9.7.)

/// As many bytes as have to be read.
pub const LENGTH: usize = 64;

/// MariaDB's, since 10.5: another layout of the flags, and checksums of whole pages.
const FULL_CRC32: u32 = 0x10;

/// What a first page says of its tablespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstPage {
    pub id: u32,
    pub pages: u32,
    pub page_size: u64,
}

impl FirstPage {
    /// Reads it from a file's first bytes, or says why it is none.
    pub fn of(bytes: &[u8; LENGTH]) -> Result<FirstPage, &'static str> {
        if *bytes == [0; LENGTH] {
            return Err("its first page is empty");
        }
        if number(bytes, 4) != 0 {
            return Err("its first page has another number than 0");
        }
        let (id, again) = (number(bytes, 34), number(bytes, 38));
        if id != again {
            return Err("its first page has two ids");
        }
        let Some(page_size) = page_size(number(bytes, 54)) else { return Err("its pages have no size that there is") };
        Ok(FirstPage { id, pages: number(bytes, 46), page_size })
    }

    /// The least length of the tablespace's files, all together. A server extends a file before it says so, and leaves what
    /// it has extended: a file that is longer lacks nothing.
    pub fn least_length(&self) -> u64 {
        u64::from(self.pages) * self.page_size
    }
}

fn number(bytes: &[u8; LENGTH], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Of a page as it lies in the file.
fn page_size(flags: u32) -> Option<u64> {
    let by_power = |power: u32| (1..=7).contains(&power).then(|| 512 << power);
    if flags & FULL_CRC32 != 0 {
        return by_power(flags & 15);
    }
    match ((flags >> 1) & 15, (flags >> 6) & 15) {
        (0, 0) => Some(16 << 10),
        (0, power) => by_power(power),
        // ROW_FORMAT=COMPRESSED.
        (power, _) => by_power(power),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(id: u32, pages: u32, flags: u32) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        for (at, value) in [(34, id), (38, id), (46, pages), (54, flags)] {
            bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
        }
        bytes
    }

    #[test]
    fn says_whose_it_is_and_how_long() {
        for (flags, page_size) in [
            (0x15, 16384), // MariaDB, full_crc32
            (0x14, 8192),
            (0x17, 65536),
            (16417, 16384), // MySQL 9.7
            (18432, 16384), // its general tablespaces
            (16423, 4096),  // KEY_BLOCK_SIZE=4
            (39, 4096),
            (33 | 3 << 6, 4096),
            (33 | 7 << 6, 65536),
            (0, 16384),
        ] {
            let first = FirstPage::of(&page(7, 10, flags)).unwrap();
            assert_eq!((first.id, first.pages, first.page_size), (7, 10, page_size), "{flags:#x}");
            assert_eq!(first.least_length(), 10 * page_size);
        }
    }

    #[test]
    fn zeros_are_no_first_page() {
        assert_eq!(FirstPage::of(&[0; LENGTH]), Err("its first page is empty"));
    }

    #[test]
    fn a_page_of_another_number_is_refused() {
        let mut bytes = page(7, 10, 0x15);
        bytes[7] = 1;
        assert_eq!(FirstPage::of(&bytes), Err("its first page has another number than 0"));
    }

    #[test]
    fn a_page_with_two_ids_is_refused() {
        for at in [37, 41] {
            let mut bytes = page(7, 10, 0x15);
            bytes[at] ^= 1;
            assert_eq!(FirstPage::of(&bytes), Err("its first page has two ids"));
        }
    }

    #[test]
    fn a_page_size_that_there_is_not_is_refused() {
        for flags in [0x10, 0x1f, 8 << 1, 9 << 6] {
            assert!(FirstPage::of(&page(7, 10, flags)).is_err(), "{flags:#x}");
        }
    }

    /// No arithmetic goes wrong over what a file may hold.
    #[test]
    fn the_largest_numbers_are_borne() {
        assert_eq!(FirstPage::of(&page(u32::MAX, u32::MAX, 0x17)).unwrap().least_length(), u64::from(u32::MAX) << 16);
    }
}
